"""Critical sections and the wait-for graph."""

import asyncio

import pytest

from emulator.builds import SECTION_RANKS
from emulator.events import Bus, OrderViolated, SectionBlocked
from emulator.scheduling import AsyncioScheduler, Preemption
from emulator.sections import NotOwner, Sections, describe_cycle
from protocols.actor import Actor, current_actor


class World:
    def __init__(self) -> None:
        self.bus = Bus()
        self.scheduler = AsyncioScheduler(Preemption(one_in=0))
        self.sections = Sections(self.scheduler, self.bus, SECTION_RANKS, {})
        self.log: list[str] = []

    def start(self, name: str, coroutine) -> asyncio.Task[None]:  # type: ignore[no-untyped-def]
        return self.scheduler.spawn(Actor(name, 1), coroutine)


@pytest.fixture
def world() -> World:
    return World()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_waiters_are_served_in_order_of_arrival(world: World) -> None:
    imail = world.sections["imail"]

    async def work(name: str) -> None:
        await imail.enter()
        world.log.append(name)
        await asyncio.sleep(0)
        imail.leave()

    tasks = [world.start(name, work(name)) for name in "abcd"]
    await asyncio.wait(tasks)
    assert world.log == list("abcd")
    assert imail.owner is None
    assert imail.entered == 4
    assert imail.contended == 3


async def test_the_owner_may_enter_again(world: World) -> None:
    imail = world.sections["imail"]
    await imail.enter()
    await imail.enter()
    imail.leave()
    assert imail.owner is current_actor.get()
    imail.leave()
    assert imail.owner is None


async def test_only_the_owner_leaves(world: World) -> None:
    with pytest.raises(NotOwner):
        world.sections["imail"].leave()


async def test_a_cancelled_waiter_leaves_no_trace(world: World) -> None:
    imail = world.sections["imail"]
    release = asyncio.Event()

    async def hold() -> None:
        await imail.enter()
        await release.wait()
        imail.leave()

    async def wait() -> None:
        await imail.enter()
        imail.leave()

    holder, first, second = world.start("a", hold()), world.start("b", wait()), world.start("c", wait())
    await turns()
    assert [actor.name for actor in imail.waiters] == ["b-1", "c-1"]
    first.cancel()
    await turns()
    assert [actor.name for actor in imail.waiters] == ["c-1"]
    release.set()
    await asyncio.wait([holder, second])
    assert imail.owner is None


async def test_a_waiter_cancelled_as_it_is_granted_passes_the_section_on(world: World) -> None:
    imail = world.sections["imail"]
    await imail.enter()

    async def wait() -> None:
        await imail.enter()
        world.log.append("entered")
        imail.leave()

    first, second = world.start("b", wait()), world.start("c", wait())
    await turns()
    imail.leave()  # granted to the first ...
    first.cancel()  # ... which is cancelled before it runs
    await asyncio.wait([first, second])
    assert world.log == ["entered"]
    assert imail.owner is None


async def test_a_cycle_is_seen_as_it_closes_and_named_for_people(world: World) -> None:
    cycles = []
    world.bus.on(SectionBlocked, lambda event: cycles.append(world.sections.cycle_from(event.actor)))
    sections = world.sections

    async def work(first: str, second: str) -> None:
        async with sections.path("test", (first, second)):
            pass

    world.scheduler.hook = lambda actor, point: asyncio.sleep(0) if point.kind == "stage" else None
    world.start("imap", work("imail", "directory"))
    world.start("smtp", work("directory", "imail"))
    world.start("pop3", work("imail", "directory"))
    await turns()
    assert cycles[0] == []
    cycle = next(cycle for cycle in cycles if cycle)
    assert describe_cycle(cycle) == [
        "smtp-1 waits for imail, held by imap-1",
        "imap-1 waits for directory, held by smtp-1",
    ]
    assert len(sections.cycles()) == 1
    assert len(sections.waits()) == 3
    await world.scheduler.cancel_all()
    assert all(section.owner is None for section in sections)


async def test_an_actor_that_was_granted_a_section_waits_no_more(world: World) -> None:
    imail = world.sections["imail"]
    await imail.enter()

    async def wait() -> None:
        await imail.enter()
        imail.leave()

    task = world.start("b", wait())
    await turns()
    imail.leave()  # granted, but the waiter has not run yet
    assert imail.owner is not None
    assert imail.owner.waiting_for is None
    assert world.sections.cycle_from(imail.owner) == []
    await task


async def test_a_wrong_order_is_recorded_even_when_nothing_hangs(world: World) -> None:
    seen: list[OrderViolated] = []
    world.bus.on(OrderViolated, seen.append)
    async with world.sections.path("test", ("directory", "imail")):
        pass
    assert [(event.held, event.wanted) for event in seen] == [("directory", "imail")]
    assert world.sections.violations.total() == 1
    async with world.sections.path("test", ("imail", "directory")):
        pass
    assert world.sections.violations.total() == 1


async def test_points_stand_before_every_operation(world: World) -> None:
    names: list[str] = []
    world.scheduler.hook = lambda actor, point: names.append(f"{point.kind} {point.name}")
    async with world.sections.path("inbound", ("imail", "directory")):
        names.append("inside")
    assert names == [
        "acquire inbound.imail.wanted",
        "stage inbound.imail.held",
        "acquire inbound.directory.wanted",
        "stage inbound.directory.held",
        "inside",
        "release inbound.directory.leaving",
        "release inbound.imail.leaving",
    ]


async def test_an_exception_leaves_all_sections(world: World) -> None:
    with pytest.raises(ZeroDivisionError):
        async with world.sections.path("test", ("imail", "directory")):
            raise ZeroDivisionError
    assert all(section.owner is None for section in world.sections)
