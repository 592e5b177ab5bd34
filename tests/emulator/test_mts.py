"""Gateways: connectors that behave, raise, and block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.mts import Refused, Transfer
from emulator.property_tags import PR_SUBJECT
from emulator.scheduling import AsyncioClock
from emulator.spool import BAD, IN, MTS_OUT, Envelope
from harness.clients import SmtpClient
from protocols.ports import Unavailable

MESSAGE = b"From: a@gateway.test\r\nSubject: from afar\r\n\r\nx\r\n"


class Connector:
    def __init__(self, name: str = "notes") -> None:
        self.name = name
        self.carried: list[tuple[Transfer, Any]] = []
        self.block: threading.Event | None = None
        self.fails = False

    def takes(self, address: str) -> bool:
        return address.endswith(f"@{self.name}.test")

    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        if self.fails:
            raise RuntimeError("the other system is down")
        while self.block is not None and not self.block.is_set():
            await asyncio.sleep(0.001)
        self.carried.append((transfer, properties))


async def test_what_a_connector_brings_is_delivered(start_server: Any) -> None:
    server = await start_server(users=["alice:secret", "bob:secret"])
    gateway = server.mts.log_on(Connector())
    server.mts.submit("notes", "a@gateway.test", ["alice", "bob", "alice@x.test"], MESSAGE)
    await gateway.settled()
    for name in ("alice", "bob"):
        (message,) = server.store.mailbox(name).inbox.messages
        assert await server.converter.octets(message) == MESSAGE
    assert (gateway.entered, gateway.delivered, gateway.failures) == (1, 1, [])


async def test_a_bad_message_harms_only_its_connector(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"], strict_users=True)
    gateway = server.mts.log_on(Connector())
    server.mts.submit("notes", "a@gateway.test", ["nobody@x.test"], MESSAGE)
    server.mts.submit("notes", "a@gateway.test", ["alice"], MESSAGE)
    await gateway.settled()
    assert gateway.delivered == 1
    assert len(gateway.failures) == 1
    assert len(server.store.mailbox("alice").inbox.messages) == 1


async def test_a_connector_that_raises_or_blocks_harms_only_itself(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"])
    broken, stuck, good = Connector("broken"), Connector("stuck"), Connector("good")
    broken.fails = True
    stuck.block = threading.Event()
    for connector in (broken, stuck, good):
        server.mts.log_on(connector)
        gateway = server.mts.route(f"x@{connector.name}.test")
        assert gateway is not None
        gateway.mts_out.put(Transfer("alice@x.test", (f"x@{connector.name}.test",), MESSAGE))
    await carried(server.mts.gateways["good"], 1)
    await failed(server.mts.gateways["broken"])
    assert server.mts.gateways["broken"].failures == ["out: the other system is down"]
    assert good.carried[0][1].octets == MESSAGE
    assert all(section.owner is None for section in server.sections)
    stuck.block.set()


async def test_mail_for_a_gateway_leaves_by_it_and_the_rest_stays(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"])
    connector = Connector()
    server.mts.log_on(connector)
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("alice@x.test", ["alice@x.test", "far@notes.test"], MESSAGE)
        await client.send("alice@x.test", ["only@notes.test"], MESSAGE)
    await server.inbound.settled()
    await carried(server.mts.gateways["notes"], 2)
    assert sorted(transfer.recipients for transfer, _ in connector.carried) == [
        ("far@notes.test",),
        ("only@notes.test",),
    ]
    assert connector.carried[0][0].octets.endswith(MESSAGE)
    assert len(server.store.mailbox("alice").inbox.messages) == 1
    assert set(server.store.mailboxes) == {"alice"}


async def test_names_queues_and_limits(start_server: Any) -> None:
    server = await start_server(inbound_queue_messages_max=1)
    server.mts.log_on(Connector())
    with pytest.raises(ValueError, match="already"):
        server.mts.log_on(Connector())
    server.mts.submit("notes", "", ["a@b.test"], MESSAGE)
    with pytest.raises(Unavailable):
        server.mts.submit("notes", "", ["a@b.test"], MESSAGE)
    assert server.mts.queue_lengths() == (1, 0)
    assert server.mts.route("x@elsewhere.test") is None
    server.mts.log_off("notes")
    assert server.mts.gateways == {}


async def carried(gateway: Any, count: int) -> None:
    async with asyncio.timeout(30):
        while gateway.carried < count:
            await asyncio.sleep(0.001)


async def failed(gateway: Any, count: int = 1) -> None:
    async with asyncio.timeout(30):
        while len(gateway.failures) < count:
            await asyncio.sleep(0.001)


async def test_what_was_acknowledged_waits_in_the_spool_for_its_gateway(start_server: Any, tmp_path: Path) -> None:
    server = await start_server(data=tmp_path)
    stuck = Connector()
    stuck.block = threading.Event()
    server.mts.log_on(stuck)
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        for subject in (b"one", b"two"):
            await client.send("alice@x.test", ["far@notes.test"], b"Subject: " + subject + b"\r\n\r\nx\r\n")
    await server.inbound.settled()
    assert await server.spool.names(IN) == []
    await server.kill()  # the connector has the first message, and the second one waits

    server = await start_server(data=tmp_path)
    connector = Connector()
    gateway = server.mts.log_on(connector)
    await carried(gateway, 2)
    subjects = [properties[PR_SUBJECT] for _, properties in connector.carried]
    assert subjects == ["one", "two"]
    assert [transfer.reverse_path for transfer, _ in connector.carried] == ["alice@x.test"] * 2
    assert not list((tmp_path / "Imcdata" / "MtsOut").iterdir())
    assert gateway.failures == []


async def test_mts_out_outlasts_a_logoff(start_server: Any) -> None:
    server = await start_server()
    stuck = Connector()
    stuck.block = threading.Event()
    server.mts.log_on(stuck)
    for number in range(3):
        assert await server.mts.carry("a@x.test", ["far@notes.test"], b"Subject: %d\r\n\r\n" % number) == []
    server.mts.log_off("notes")
    stuck.block.set()
    connector = Connector()
    server.mts.log_on(connector)
    async with asyncio.timeout(30):
        while {p[PR_SUBJECT] for _, p in (*stuck.carried, *connector.carried)} != {"0", "1", "2"}:
            await asyncio.sleep(0.001)


async def until(reached: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not reached():
            await asyncio.sleep(0.001)


async def bad(server: Any) -> tuple[Envelope, bytes]:
    """The message in BAD, once it is there and nowhere else."""
    async with asyncio.timeout(30):
        while not await server.spool.names(BAD) or await server.spool.names(MTS_OUT):
            await asyncio.sleep(0.001)
    ((name, _),) = await server.spool.names(BAD)
    envelope, octets = await server.spool.read(BAD, name)
    return envelope, octets


async def test_what_a_connector_does_not_take_is_tried_again_then_returned(start_server: Any, tmp_path: Path) -> None:
    server = await start_server(
        users=["alice:secret"], data=tmp_path, gateway_retry_seconds_min=0.01, gateway_expire_seconds=0.1
    )
    connector = Connector()
    connector.fails = True
    gateway = server.mts.log_on(connector)
    assert await server.mts.carry("alice@x.test", ["far@notes.test"], MESSAGE) == []
    envelope, octets = await bad(server)
    assert envelope.reason == "gateway notes: the other system is down"
    assert octets == MESSAGE
    assert len(gateway.failures) > 1
    await until(lambda: server.store.mailbox("alice").inbox.messages)
    (report,) = server.store.mailbox("alice").inbox.messages
    returned = await server.converter.octets(report)
    assert b"Final-Recipient: rfc822;far@notes.test\r\nAction: failed\r\nStatus: 4.4.7\r\n" in returned


async def test_the_pause_doubles_and_another_message_does_not_wait(start_server: Any) -> None:
    pauses: list[float] = []

    class Clock(AsyncioClock):
        def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
            pauses.append(seconds)
            return super().call_later(0.001, callback)

    server = await start_server(gateway_retry_seconds_max=200.0)
    server.mts._clock = Clock()
    connector = Connector()
    connector.fails = True
    gateway = server.mts.log_on(connector)
    await server.mts.carry("", ["far@notes.test"], MESSAGE)
    await until(lambda: len(pauses) >= 4)
    connector.fails = False
    await server.mts.carry("", ["near@notes.test"], MESSAGE)
    await carried(gateway, 2)
    assert pauses[:4] == [60, 120, 200, 200]
    assert {transfer.recipients for transfer, _ in connector.carried} == {("far@notes.test",), ("near@notes.test",)}


class Refusing(Connector):
    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        raise Refused("no such user")


async def test_what_is_refused_is_returned_at_once(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"])
    gateway = server.mts.log_on(Refusing())
    await server.mts.carry("alice@x.test", ["far@notes.test"], MESSAGE)
    await until(lambda: server.store.mailbox("alice").inbox.messages)
    envelope, _ = await bad(server)
    assert envelope.reason == "gateway notes: no such user"
    assert gateway.spool_names == set()


async def test_one_content_leaves_once_for_all_its_recipients(start_server: Any) -> None:
    server = await start_server()
    connector = Connector()
    connector.block = threading.Event()
    gateway = server.mts.log_on(connector)
    left = await server.mts.carry("a@x.test", ["a@notes.test", "here@x.test", "b@notes.test"], MESSAGE)
    assert left == ["here@x.test"]
    assert len(await server.spool.names(MTS_OUT)) == 1
    connector.block.set()
    await carried(gateway, 1)
    assert connector.carried[0][0].recipients == ("a@notes.test", "b@notes.test")


class Sleeper(Connector):
    """Blocks its thread, as a coroutine must not."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.wake = threading.Event()
        self.entered = threading.Event()

    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        self.entered.set()
        self.wake.wait(30)


class Thinker(Sleeper):
    def takes(self, address: str) -> bool:
        self.entered.set()
        self.wake.wait(30)
        return super().takes(address)


async def test_a_connector_that_blocks_its_thread_harms_only_itself(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"])
    sleeper, good = Sleeper("sleeper"), Connector("good")
    server.mts.log_on(sleeper)
    gateway = server.mts.log_on(good)
    try:
        await server.mts.carry("a@x.test", ["x@sleeper.test"], MESSAGE)
        await until(sleeper.entered.is_set)
        async with await SmtpClient.connect(server.addresses["smtp"]) as client:
            await client.hello()
            await client.send("a@x.test", ["alice@x.test", "x@good.test", "x@sleeper.test"], MESSAGE)
        await server.inbound.settled()
        await carried(gateway, 1)
        assert len(server.store.mailbox("alice").inbox.messages) == 1
        assert all(section.owner is None for section in server.sections)
    finally:
        sleeper.wake.set()


async def test_a_connector_that_does_not_say_what_it_takes_takes_nothing(start_server: Any) -> None:
    server = await start_server(gateway_answer_seconds_max=0.02)
    thinker = Thinker("thinker")
    gateway = server.mts.log_on(thinker)
    try:
        assert server.mts.route("x@thinker.test") is None
        assert server.mts.route("x@thinker.test") is None
        assert gateway.failures == ["takes: no answer in 0.02 s", "takes: still busy with what it was asked before"]
    finally:
        thinker.wake.set()
    await until(lambda: server.mts.route("x@thinker.test") is gateway)


async def test_what_a_connector_brings_for_nobody_is_returned_and_kept(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"], strict_users=True)
    gateway = server.mts.log_on(Connector())
    server.mts.submit("notes", "alice@x.test", ["nobody@x.test"], MESSAGE)
    await gateway.settled()
    envelope, octets = await bad(server)
    assert (envelope.recipients, octets) == (("nobody@x.test",), MESSAGE)
    await until(lambda: server.store.mailbox("alice").inbox.messages)


async def test_a_connector_holds_its_place_in_a_jam(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"])
    connector = Connector()
    gateway = server.mts.log_on(connector)
    async with server.sections.path("inbound", *server.build.paths["inbound"]):
        await server.mts.carry("a@x.test", ["far@notes.test"], MESSAGE)
        server.mts.submit("notes", "b@notes.test", ["alice"], MESSAGE)
        await until(lambda: len([w for section in server.sections for w in section.waiters]) >= 2)
        assert (connector.carried, gateway.delivered) == ([], 0)
    await carried(gateway, 1)
    await gateway.settled()
    assert gateway.delivered == 1


class Deadly(Connector):
    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        raise SystemExit("the connector ends its process")


class Picky(Connector):
    def takes(self, address: str) -> bool:
        raise LookupError("no table of addresses")


async def test_a_connector_that_dies_or_cannot_tell_harms_only_itself(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"])
    deadly = server.mts.log_on(Deadly("deadly"))
    picky = server.mts.log_on(Picky("picky"))
    good = server.mts.log_on(Connector("good"))
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@x.test", ["x@deadly.test", "x@good.test", "alice@x.test"], MESSAGE)
    await server.inbound.settled()
    await carried(good, 1)
    await failed(deadly)
    assert picky.failures[0] == "takes: no table of addresses"
    assert len(server.store.mailbox("alice").inbox.messages) == 1


async def test_strict_users_accept_addresses_of_gateways(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"], strict_users=True)
    gateway = server.mts.log_on(Connector())
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.command("MAIL FROM:<a@x.test>")
        assert (await client.command("RCPT TO:<far@notes.test>")).startswith(b"250")
        assert (await client.command("RCPT TO:<nobody@elsewhere.test>")).startswith(b"550")
        await client.command("RSET")
        await client.send("a@x.test", ["far@notes.test"], MESSAGE)
    await carried(gateway, 1)
    assert set(server.store.mailboxes) == {"alice"}


async def test_from_one_gateway_to_another(start_server: Any) -> None:
    server = await start_server()
    one, other = server.mts.log_on(Connector("one")), server.mts.log_on(Connector("other"))
    server.mts.submit("one", "a@one.test", ["x@other.test"], MESSAGE)
    await one.settled()
    await carried(other, 1)
    server.mts.submit("one", "a@one.test", ["x@one.test"], MESSAGE)
    await one.settled()
    assert one.failures == ["in: x@one.test is where this message came from"]
    assert server.store.mailboxes == {}
