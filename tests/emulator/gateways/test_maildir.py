"""emulator/gateways/maildir.py"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from emulator.gateways import MaildirConnector
from emulator.mts import Transfer
from protocols.actor import Actor

MESSAGE = b"From: a@gateway.test\r\nTo: alice@x.test\r\nSubject: from afar\r\n\r\nx\r\n"


async def test_out(start_server: Any, tmp_path: Path) -> None:
    server = await start_server(users=["alice:secret"])
    connector = MaildirConnector("maildir", ["gateway.test"], tmp_path / "out")
    gateway = server.mts.log_on(connector)
    assert connector.takes("x@Gateway.test")
    assert connector.takes("x@sub.gateway.test")
    assert not connector.takes("x@othergateway.test")
    gateway.mts_out.put(Transfer("alice@x.test", ("b@gateway.test",), MESSAGE))
    async with asyncio.timeout(10):
        while not gateway.carried:
            await asyncio.sleep(0.01)
    (path,) = (tmp_path / "out" / "new").iterdir()
    assert path.read_bytes() == MESSAGE
    assert not list((tmp_path / "out" / "tmp").iterdir())


async def test_in(start_server: Any, tmp_path: Path) -> None:
    server = await start_server(users=["alice:secret"])
    connector = MaildirConnector("maildir", ["gateway.test"], tmp_path / "out", tmp_path / "in")
    gateway = server.mts.log_on(connector)
    (tmp_path / "in" / "new" / "1").write_bytes(MESSAGE)
    assert await connector.poll(server.mts) == 1
    await gateway.settled()
    (message,) = server.store.mailbox("alice").inbox.messages
    assert await server.converter.octets(message) == MESSAGE
    assert [path.name for path in (tmp_path / "in" / "cur").iterdir()] == ["1:2,S"]
    assert await connector.poll(server.mts) == 0


async def test_watching_ends_at_log_off_and_survives_a_lost_folder(start_server: Any, tmp_path: Path) -> None:
    server = await start_server(users=["alice:secret"])
    connector = MaildirConnector("maildir", [], tmp_path / "out", tmp_path / "in")
    gateway = server.mts.log_on(connector)
    (tmp_path / "in" / "new").rmdir()
    watching = server.scheduler.spawn(
        Actor("gateway-watch"), connector.watch(server.mts, server.clock, poll_seconds=0.01)
    )
    async with asyncio.timeout(10):
        while not gateway.failures:
            await asyncio.sleep(0.01)
        server.mts.log_off("maildir")
        await watching
    assert "watch" in gateway.failures[0]
