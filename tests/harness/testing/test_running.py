from __future__ import annotations

import asyncio
import smtplib

import pytest

from harness.testing.fixture import settings_from
from harness.testing.running import RunningServer


async def _number() -> int:
    return 7


def test_life_calls_and_restart() -> None:
    running = RunningServer(settings_from({"nntp_port": None}))
    running.start()
    try:
        assert running.call(_number()) == 7
        assert asyncio.run(running.acall(_number())) == 7
        with pytest.raises(TimeoutError, match=r"did not answer within 0\.05 s"):
            running.call(asyncio.sleep(10), 0.05)
        with pytest.raises(LookupError, match="nntp is not served"):
            _ = running.nntp
        before = running.smtp
        system = running.lease()
        assert system is running
        before_it = system.server
        running.give_back(system)
        running.ready()
        assert running.smtp == before
        assert running.server is not before_it
        with smtplib.SMTP(*running.smtp) as client:
            assert client.noop()[0] == 250
        assert str(running.smtp) == f"127.0.0.1:{running.smtp.port}"
    finally:
        running.stop()


def test_a_system_that_cannot_be_exchanged_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    running = RunningServer(settings_from({}))
    running.start()
    try:
        system = running.lease()
        assert system is running
        assert system.server is system._server  # it is touched
        monkeypatch.setattr(type(system._server), "kill", _fail)
        running.give_back(system)
        other = running.lease()
        monkeypatch.undo()
        assert other is not running
        with smtplib.SMTP(*other.smtp) as client:
            assert client.noop()[0] == 250
        running.give_back(other)
    finally:
        running.stop()


async def _fail(server: object) -> None:
    raise RuntimeError("no")
