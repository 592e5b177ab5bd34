"""Control of the services of a running server: stop and start again, pause, order, what hangs and how it is said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from emulator.server import IMC, IS
from emulator.service import ServiceError, State
from harness.clients import ImapClient, SmtpClient

MESSAGE = b"Subject: x\r\n\r\nx\r\n"


async def send(server) -> None:
    client = await SmtpClient.connect(server.addresses["smtp"])
    await client.hello()
    await client.send("a@b.test", ["alice"], MESSAGE)
    await client.close()


async def count(server) -> int:
    client = await ImapClient.connect(server.addresses["imap"])
    await client.login("alice", "secret")
    lines = await client.command("STATUS INBOX (MESSAGES)")
    await client.close()
    return int(lines[0].rpartition(b" ")[2].rstrip(b")"))


@pytest.mark.parametrize("durable", [False, True])
async def test_services_stop_and_start_again_on_the_same_ports(start_server, tmp_path: Path, durable):
    server = await start_server(users=["alice:secret"], data=tmp_path / "data" if durable else None)
    await send(server)
    await server.inbound.settled()
    addresses = dict(server.addresses)
    await server.control.stop(IS)
    assert server.states() == dict.fromkeys(server.states(), State.STOPPED)
    for protocol in ("smtp", "imap"):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*addresses[protocol])
    await server.control.start(IMC)
    assert server.states()[IS] is State.RUNNING
    assert server.addresses == addresses
    await send(server)
    await server.inbound.settled()
    assert await count(server) == 2


async def test_stopping_the_store_stops_mail_first(start_server):
    server = await start_server()
    seen = []
    real = server.control._set
    server.control._set = lambda service, state, detail="": (seen.append((service.name, state)), real(service, state))
    await server.control.stop(IS)
    assert seen.index((IMC, State.STOPPED)) < seen.index((IS, State.STOPPED))


async def test_paused_mail_takes_no_new_connections_and_delivers_what_it_has(start_server):
    server = await start_server(users=["alice:secret"])
    await send(server)
    await server.control.pause(IMC)
    with pytest.raises(ConnectionRefusedError):
        await send(server)
    await server.inbound.settled()
    assert await count(server) == 1
    with pytest.raises(ServiceError, match="only a running service"):
        await server.control.pause(IMC)
    await server.control.resume(IMC)
    await send(server)


async def test_mail_that_is_there_when_the_service_stops_is_delivered_after_its_start(start_server, tmp_path: Path):
    server = await start_server(users=["alice:secret"], data=tmp_path / "data", inbound_threads=1)
    for _ in range(5):
        await send(server)
    await server.control.stop(IS)
    await server.control.start(IMC)
    await server.inbound.settled()
    assert await count(server) == 5
    assert server.inbound.awaiting_conversion == 0
