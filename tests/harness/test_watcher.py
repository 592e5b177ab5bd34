"""The watcher."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from emulator.scheduling import Preemption
from emulator.server import IS
from harness.clients import SmtpClient
from harness.gates import Gates
from harness.watcher import LoopBlocked, Stalled, StopHung, Watcher
from protocols.actor import Actor


async def until(watcher: Watcher, kind: type[Any]) -> Any:
    async with asyncio.timeout(10):
        while True:
            for finding in watcher.findings:
                if isinstance(finding, kind):
                    return finding
            await asyncio.sleep(0.01)


async def test_a_cycle_is_named_as_it_closes(start_server: Any) -> None:
    server = await start_server(build="sp4", preemption=Preemption(one_in=0))
    sections = server.sections
    server.scheduler.hook = lambda actor, point: asyncio.sleep(0) if point.kind == "stage" else None

    async def work(*order: str) -> None:
        async with sections.path("test", order):
            pass

    async with Watcher(server) as watcher:
        server.scheduler.spawn(Actor("smtp", 1, doing="DATA"), work("imail", "directory"))
        server.scheduler.spawn(Actor("imap", 1, user="alice", doing="FETCH"), work("directory", "imail"))
        jam = await watcher.wait_for_jam(5)
        assert jam.seconds_after_closing < 0.05
        assert set(str(jam).splitlines()) == {
            "smtp-1 DATA waits for directory, held by imap-1 alice FETCH",
            "imap-1 alice FETCH waits for imail, held by smtp-1 DATA",
        }
        with pytest.raises(TimeoutError):
            async with Watcher(server) as second:
                await second.wait_for_jam(0.01)


async def test_a_queue_that_does_not_move_and_a_stop_that_does_not_end(start_server: Any) -> None:
    server = await start_server(stop_seconds_max=0.1)
    gate = Gates(server.scheduler).hold("inbound.imail.held")
    async with Watcher(server, interval_seconds=0.02, stalled_seconds=0.1) as watcher:
        async with await SmtpClient.connect(server.addresses["smtp"]) as client:
            await client.hello()
            await client.send("a@b.test", ["c@d.test"], b"Subject: x\r\n\r\nx\r\n")
        stalled = await until(watcher, Stalled)
        assert (stalled.queue, stalled.length) == ("Queued Inbound", 1)
        stop = server.control.request_stop(IS)
        hung = await until(watcher, StopHung)
        assert hung.service == "MSExchangeIMC"
        gate.release()
        await stop


async def test_a_blocked_loop(start_server: Any) -> None:
    server = await start_server()
    async with Watcher(server, interval_seconds=0.02, blocked_seconds=0.1) as watcher:
        await asyncio.sleep(0.03)
        time.sleep(0.3)  # what a careless program does
        assert (await until(watcher, LoopBlocked)).seconds > 0.1
