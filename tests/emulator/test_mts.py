"""Gateways: connectors that behave, raise, and block."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from emulator.mts import Transfer
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
