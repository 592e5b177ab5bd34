"""Gateways: connectors that behave, raise, and block."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from emulator.mts import Transfer
from emulator.property_tags import PR_SUBJECT
from emulator.spool import BAD, IN, MTS_OUT
from harness.clients import SmtpClient
from protocols.ports import Unavailable

MESSAGE = b"From: a@gateway.test\r\nSubject: from afar\r\n\r\nx\r\n"


class Connector:
    def __init__(self, name: str = "notes") -> None:
        self.name = name
        self.carried: list[tuple[Transfer, Any]] = []
        self.block: asyncio.Event | None = None
        self.fails = False

    def takes(self, address: str) -> bool:
        return address.endswith(f"@{self.name}.test")

    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        if self.fails:
            raise RuntimeError("the other system is down")
        if self.block is not None:
            await self.block.wait()
        self.carried.append((transfer, properties))


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


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
    stuck.block = asyncio.Event()
    for connector in (broken, stuck, good):
        server.mts.log_on(connector)
        gateway = server.mts.route(f"x@{connector.name}.test")
        assert gateway is not None
        gateway.mts_out.put(Transfer("alice@x.test", (f"x@{connector.name}.test",), MESSAGE))
    async with asyncio.timeout(10):
        while not good.carried:
            await asyncio.sleep(0)
    await turns()
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
    async with asyncio.timeout(10):
        while len(connector.carried) < 2:
            await asyncio.sleep(0)
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
    stuck.block = asyncio.Event()
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
    stuck.block = asyncio.Event()
    server.mts.log_on(stuck)
    for number in range(3):
        assert await server.mts.carry("a@x.test", "far@notes.test", b"Subject: %d\r\n\r\n" % number)
    server.mts.log_off("notes")
    stuck.block.set()
    connector = Connector()
    server.mts.log_on(connector)
    async with asyncio.timeout(30):
        while {p[PR_SUBJECT] for _, p in (*stuck.carried, *connector.carried)} != {"0", "1", "2"}:
            await asyncio.sleep(0.001)


async def test_what_a_connector_does_not_take_goes_to_bad(start_server: Any, tmp_path: Path) -> None:
    server = await start_server(data=tmp_path)
    connector = Connector()
    connector.fails = True
    gateway = server.mts.log_on(connector)
    assert await server.mts.carry("a@x.test", "far@notes.test", MESSAGE)
    await failed(gateway)
    async with asyncio.timeout(30):
        while not await server.spool.names(BAD) or await server.spool.names(MTS_OUT):
            await asyncio.sleep(0.001)
    ((name, _),) = await server.spool.names(BAD)
    envelope, octets = await server.spool.read(BAD, name)
    assert envelope.reason == "gateway notes: the other system is down"
    assert octets == MESSAGE


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
