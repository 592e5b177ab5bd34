"""Handlers that block hold up nobody else where they have a thread of their own."""

from __future__ import annotations

import asyncio
import smtplib
import threading
from pathlib import Path
from typing import Any

import pytest

from emulator.loop_thread import LoopThread
from emulator.server import Server
from harness.clients import Pop3Client

MODULE = """
import threading

RELEASE = threading.Event()
WHERE = []


class Blocking:
    async def handle_DATA(self, server, session, envelope):
        WHERE.append((threading.current_thread().name, envelope.mail_from, session.host_name))
        if not RELEASE.wait(30):
            raise RuntimeError("nobody released it")
        return "250 at last"


class Failing:
    def process_message(self, peer, mail_from, rcpt_tos, data):
        raise RuntimeError("oops")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "blocking_handlers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "blocking_handlers", raising=False)
    return __import__("blocking_handlers")


def send(server: Server) -> tuple[int, bytes]:
    with smtplib.SMTP(*server.addresses["smtp"], timeout=60) as client:
        client.ehlo("me.example")
        client.mail("a@x.example")
        client.rcpt("alice")
        return client.data(b"Subject: x\r\n\r\nx\r\n")


async def test_a_hook_that_blocks_holds_up_no_other_protocol(start_server: Any, module: Any) -> None:
    server = await start_server(handler="blocking_handlers:Blocking", handler_thread=True, users=["alice:secret"])
    sending = asyncio.ensure_future(asyncio.to_thread(send, server))
    async with asyncio.timeout(30):
        while not module.WHERE:
            await asyncio.sleep(0.002)
        async with await Pop3Client.connect(server.addresses["pop3"]) as client:
            await client.login("alice", "secret")
        assert not sending.done()
        module.RELEASE.set()
        assert await sending == (250, b"at last")
    assert module.WHERE == [("mailjam-handler", "a@x.example", "me.example")]


async def test_aiosmtpds_proxy_takes_mail_to_the_same_process(start_server: Any) -> None:
    behind = await start_server(users=["alice:secret"])
    host, port = behind.addresses["smtp"]
    before = await start_server(handler=f"aiosmtpd.handlers:Proxy {host} {port}", handler_thread=True)
    async with asyncio.timeout(30):
        assert (await asyncio.to_thread(send, before))[0] == 250
    await behind.inbound.settled()
    assert len(behind.store.mailboxes["alice"].inbox.messages) == 1


@pytest.mark.filterwarnings("ignore:use handle_DATA:DeprecationWarning")
async def test_what_a_hook_raises_is_answered(start_server: Any, module: Any) -> None:
    server = await start_server(handler="blocking_handlers:Failing", handler_thread=True)
    assert await asyncio.to_thread(send, server) == (500, b"Error: (RuntimeError) oops")


async def test_it_ends_with_hooks_that_wait() -> None:
    thread = LoopThread("mailjam-handler")
    waiting = asyncio.ensure_future(thread.run(asyncio.sleep, 3600))
    while not any(each.name == "mailjam-handler" for each in threading.enumerate()):
        await asyncio.sleep(0.002)
    await thread.close()
    await thread.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not any(each.name == "mailjam-handler" for each in threading.enumerate())
