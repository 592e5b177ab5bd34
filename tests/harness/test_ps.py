"""`mailjam ps`: a server is asked over its control socket."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from harness import explain, ps
from harness.explain import default_schedule, snapshot
from harness.ps import NoAnswer, ask_socket, control_socket
from harness.replay import JAM
from harness.wire_bench import Bench


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    explain.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(words)
    code: int = arguments.run(arguments)
    return code


async def test_a_running_server_that_is_jammed() -> None:
    scenario, schedule = default_schedule()
    async with Bench(scenario) as bench:
        outcome = await bench.follow(scenario.operations(schedule), leave_jammed=True)
        assert outcome.kind == JAM
        state = snapshot(bench.server)
        assert state["jammed"]
        waiting = [actor for actor in state["actors"] if actor["waiting_for"]]
        assert {actor["kind"] for actor in waiting} == {"inbound", "pop3"}
        assert all(actor["stack"] for actor in waiting)
        async with control_socket(bench.server) as path:
            assert path is not None
            assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0
            import asyncio

            asked = await asyncio.to_thread(ask_socket, path)
            assert asked["jammed"]
        assert not path.exists()


def test_ps_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ps.tempfile, "gettempdir", lambda: str(tmp_path))
    assert command("ps") == 2
    assert command("ps", "1") == 2
    assert command("ps", "--http", "127.0.0.1:9") == 2
    (tmp_path / "bad").mkdir()
    with pytest.raises(NoAnswer):
        ps._state(b"{}", "x")
    with pytest.raises(NoAnswer):
        ps._state(b"nonsense", "x")
