"""The conversion stage: order of sections, points, the cache, byte-exactness."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.builds import ORDERS, SECTION_RANKS, find_build
from emulator.config import Settings
from emulator.converter import Converter
from emulator.directory import Directory
from emulator.events import Bus
from emulator.properties import PropertyMessage
from emulator.scheduling import AsyncioScheduler, Point, Preemption
from emulator.sections import Sections
from emulator.store import Store
from protocols.mime.structure import Part
from protocols.ports import Target

OCTETS = b"Subject: hello\r\nMessage-ID: <1@test>\r\n\r\n.body\r\n"


class World:
    def __init__(self, build: str = "latest", **fields: Any) -> None:
        self.settings = Settings(**fields)
        self.bus = Bus()
        self.scheduler = AsyncioScheduler(Preemption(one_in=0))
        self.sections = Sections(self.scheduler, self.bus, SECTION_RANKS, {})
        self.store = Store(self.settings)
        self.converter = Converter(self.settings, find_build(build), self.sections, self.scheduler, self.store)
        self.points: list[str] = []
        self.scheduler.hook = lambda actor, point: self.points.append(point.name)

    def entered(self) -> list[str]:
        """Sections in the order of their entering, by the points that were reached."""
        return [name.split(".")[1] for name in self.points if name.endswith(".held")]


@pytest.mark.parametrize("build", ["sp4", "patched", "latest"])
async def test_each_path_enters_its_sections_in_the_order_of_the_build(build: str) -> None:
    world = World(build)

    async def take(properties: PropertyMessage) -> None:
        pass

    inbox = (await world.store.create_mailbox("alice")).inbox
    number = find_build(build)
    (message,) = await world.converter.put(OCTETS, [Target(inbox)])
    assert world.entered() == list(number.order("inbound"))
    world.points.clear()
    await world.converter.octets(message)
    assert world.entered() == list(number.order("outbound"))
    world.points.clear()
    await world.converter.notification(Directory(world.settings, world.store, world.bus))
    assert world.entered() == list(number.order("notification"))
    world.points.clear()
    await world.converter.report(lambda: OCTETS, [Target(inbox)])
    assert world.entered() == list(number.order("report"))
    world.points.clear()
    await world.converter.gateway_outbound(OCTETS, take)
    assert world.entered() == list(number.order("gateway"))
    assert all(section.owner is None for section in world.sections)
    wrong = {path for path in ORDERS if number.order(path) != ORDERS[path]}
    assert world.sections.violations.total() == len(wrong)


async def test_what_went_in_comes_out_and_repeated_reads_enter_no_section() -> None:
    world = World()
    inbox = (await world.store.create_mailbox("alice")).inbox
    (message,) = await world.converter.put(OCTETS, [Target(inbox)])
    first = await world.converter.octets(message)
    assert first == OCTETS
    world.points.clear()
    assert await world.converter.octets(message) is first
    assert world.points == []
    world.converter.forget_converted()
    assert await world.converter.octets(message) == OCTETS
    assert world.points


async def test_the_cache_is_bounded() -> None:
    world = World(outbound_cache_bytes_max=250)
    inbox = (await world.store.create_mailbox("alice")).inbox
    messages = []
    for number in range(5):
        octets = b"Subject: %d\r\n\r\n" % number + b"x" * 80
        messages += await world.converter.put(octets, [Target(inbox)])
    for message in messages:
        await world.converter.octets(message)
    assert world.converter._cache_octets <= 250
    assert len(world.converter._cache) == 2


async def test_derived_values_are_computed_once_without_a_section() -> None:
    world = World()
    inbox = (await world.store.create_mailbox("alice")).inbox
    (message,) = await world.converter.put(OCTETS, [Target(inbox)])
    world.points.clear()
    calls = []

    def compute(octets: bytes, part: Part) -> bytes | None:
        calls.append(octets)
        return part.headers.get("Subject")

    assert await world.converter.derive(message, "test.subject", compute) == b"hello"
    assert await world.converter.derive(message, "test.subject", compute) == b"hello"
    assert calls == [OCTETS]
    assert world.points == []


async def test_several_messages_are_all_put_or_none() -> None:
    world = World(mailbox_bytes_max=len(OCTETS) + 10)
    inbox = (await world.store.create_mailbox("alice")).inbox
    with pytest.raises(Exception, match="quota"):
        await world.converter.put_all([(OCTETS, [Target(inbox)]), (OCTETS + b"more than fits", [Target(inbox)])])
    assert not inbox.messages


async def test_a_generated_report_takes_its_path_and_comes_back_unchanged(start_server: Any) -> None:
    server = await start_server(build="5.5.2654.29", preemption=Preemption(one_in=0))
    reached: list[str] = []

    def note(actor: object, point: Point) -> None:
        reached.append(point.name)

    server.scheduler.hook = note
    octets = b"Subject: Undeliverable\r\n\r\nIt could not be delivered.\r\n"
    assert await server.converter.generate_report(lambda: octets) == octets
    assert [name for name in reached if name.endswith(".held")] == ["report.gateway.held", "report.imail.held"]


async def test_computed_values_are_kept_for_so_many_contents() -> None:
    world = World(derived_cache_messages_max=3)
    inbox = (await world.store.create_mailbox("alice")).inbox
    for number in range(5):
        [message] = await world.converter.put(OCTETS + b"%d\r\n" % number, [Target(inbox)])
        await world.converter.derive(message, "test.size", lambda octets, part: len(octets))
        await world.converter.derive(message, "test.first", lambda octets, part: octets[:1])
    assert [len(message.content.derived) for message in inbox.messages] == [0, 0, 2, 2, 2]
    assert await world.converter.derive(inbox.messages[0], "test.size", lambda octets, part: -1) == -1
