from __future__ import annotations

import asyncio
import smtplib

import pytest

from harness.testing.fixture import MailJam, settings_from
from harness.testing.running import RunningServer
from harness.testing.system import Address, Loop, System


async def _number() -> int:
    return 7


def test_a_loop_in_a_thread() -> None:
    loop = Loop()
    try:
        assert loop.call(_number()) == 7
        assert asyncio.run(loop.acall(_number())) == 7
        assert not loop.is_here
        with pytest.raises(TimeoutError, match=r"did not answer within 0\.05 s"):
            loop.call(asyncio.sleep(10), 0.05)
    finally:
        loop.end()


def test_a_trio_task_may_wait_and_be_cancelled() -> None:
    trio = pytest.importorskip("trio", reason="pip install trio")
    loop = Loop()

    async def main() -> int:
        with trio.move_on_after(0.02):
            await loop.acall(asyncio.sleep(10))
        return int(await loop.acall(_number()))

    try:
        assert trio.run(main) == 7
    finally:
        loop.end()


def test_another_server_on_the_same_ports() -> None:
    loop = Loop()
    system = System(settings_from({"users": ["alice:secret"]}), loop)
    try:
        loop.call(system.begin())
        loop.call(system.mark())
        first, address = system.server, system.smtp
        assert str(address) == f"127.0.0.1:{address.port}"
        assert isinstance(address, Address)
        system.renew()
        assert system.server is not first
        assert system.smtp == address
        assert system.server.store is first.store
        assert system.server.directory.authenticate("alice", "secret") == "alice"
    finally:
        loop.call(system.end())
        loop.end()


def test_nothing_is_exchanged_where_nothing_happened() -> None:
    running = RunningServer(settings_from({"users": ["alice:secret"]}))
    running.start()
    try:
        for _ in range(2):
            mine = MailJam(running)
            mine.begin()
            first = running._server
            assert mine.smtp == running.smtp
            assert mine.finish() == []
            assert running._server is first
        for touch in (_connect, _make_user, _advance, _put):
            mine = MailJam(running)
            mine.begin()
            first = running._server
            touch(mine)
            assert mine.finish() == []
            running.ready()
            assert running._server is not first, touch.__name__
            assert running.server.clock is not first.clock
    finally:
        running.stop()


def _connect(mine: MailJam) -> None:
    with smtplib.SMTP(*mine.smtp) as client:
        client.noop()


def _make_user(mine: MailJam) -> None:
    mine.user("bob")


def _advance(mine: MailJam) -> None:
    mine.clock.advance(minutes=1)


def _put(mine: MailJam) -> None:
    mine.put("Subject: x\n\nx\n", "alice")
