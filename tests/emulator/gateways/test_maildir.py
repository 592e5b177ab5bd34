"""emulator/gateways/maildir.py"""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from emulator.gateways import MaildirConnector, maildir
from emulator.imail import inbound
from emulator.mts import Transfer
from harness.gates import Gates
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


async def test_a_file_that_was_taken_survives_a_kill(start_server: Any, tmp_path: Path) -> None:
    first = await start_server(users=["alice:secret"], data=tmp_path / "data")
    Gates(first.scheduler).hold("inbound.convert")
    connector = MaildirConnector("maildir", ["gateway.test"], tmp_path / "out", tmp_path / "in")
    first.mts.log_on(connector)
    (tmp_path / "in" / "new" / "1").write_bytes(MESSAGE)
    assert await connector.poll(first.mts) == 1
    assert not list((tmp_path / "in" / "new").iterdir())
    await first.kill()
    again = await start_server(users=["alice:secret"], data=tmp_path / "data")
    gateway = again.mts.log_on(connector)
    async with asyncio.timeout(30):
        while not gateway.delivered:
            await asyncio.sleep(0.01)
    assert len(again.store.mailbox("alice").inbox.messages) == 1


def test_names_of_another_process_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = MaildirConnector("maildir", ["gateway.test"], tmp_path)
    for _ in range(2):
        monkeypatch.setattr(maildir, "_numbers", count(1))
        connector.deliver(Transfer("alice@x.test", ("b@gateway.test",), MESSAGE), inbound(MESSAGE))
    assert len(list((tmp_path / "new").iterdir())) == 2
