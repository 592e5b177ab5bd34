"""Explaining a jam: of a schedule in memory and of a running server."""

from __future__ import annotations

import argparse
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from emulator.builds import DEFAULT_BUILD
from emulator.server import Server
from harness import explain, page, ps
from harness.explain import Standstill, default_schedule, snapshot, standstill, text_lines
from harness.ps import NoAnswer, ask_socket, control_socket
from harness.replay import JAM
from harness.scenario import Scenario
from harness.scenarios.stage import Stage
from harness.wire_bench import Bench


@pytest.fixture(scope="module")
def still() -> Standstill:
    return standstill(*default_schedule())


def test_a_schedule_is_explained(still: Standstill) -> None:
    state = still.state
    assert state["jammed"]
    assert len(state["cycles"][0]) == 2
    owners = {section["name"]: section["owner_name"] for section in state["sections"]}
    assert owners == {"imail": "inbound-1", "directory": "pop3-1", "gateway": None}
    for actor in state["actors"]:
        assert "has waited" in actor["position"]
        assert any("Passage.__aenter__" in frame for frame in actor["stack"])
        assert any("CriticalSection.enter" in frame for frame in actor["stack"])
    assert any("ending one of" in item for item in state["frees"])
    text = "\n".join(text_lines(state))
    assert "JAMMED" in text
    assert "--wants directory-->" in text
    json.dumps(state)


def test_pages_and_graphs_are_well_formed(still: Standstill) -> None:
    assert ET.fromstring(page.graph_svg(still.state, use_graphviz=False)).tag.endswith("svg")
    assert ET.fromstring(page.timeline_svg(still)).tag.endswith("svg")
    assert page.dot_text(still.state).count("->") == 4
    text = page.html(still)
    assert text.startswith("<!doctype html>")
    assert "the cycle closes" in text
    assert "<script" not in text
    assert "src=" not in text.replace("xmlns=", "")


def test_holdings() -> None:
    steps = [("a", "inbound.imail.wanted"), ("b", "outbound.directory.wanted"), ("a", "inbound.imail.leaving")]
    assert page.holdings(steps) == [("imail", "a", 0, 2), ("directory", "b", 1, None)]


def test_peers_strings_are_escaped(still: Standstill) -> None:
    state: dict[str, Any] = json.loads(json.dumps(still.state))
    state["actors"][0]["words"] = state["actors"][0]["user"] = '<b>"&'
    assert "<b>" not in page.graph_svg(state, use_graphviz=False)
    assert '\\"' in page.dot_text(state)


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


async def test_a_section_whose_owner_waits_for_nothing() -> None:
    async with Stage(DEFAULT_BUILD) as stage:
        server: Server = stage.server
        state = snapshot(server)
        assert not state["jammed"]
        assert state["works"] == ["everything: nobody waits for a section"]
        assert "not jammed" in text_lines(state)[0]


def test_a_schedule_that_does_not_jam_is_explained_too() -> None:
    from harness.exploration.schedule import Schedule
    from harness.exploration.search import run, stay

    scenario = Scenario("5.5.2654.29", ("smtp", "pop3"))
    calm = standstill(scenario, Schedule.of(run(scenario.program, stay), scenario.label))
    assert not calm.state["jammed"]
    assert "the cycle closes" not in page.html(calm)


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    explain.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(words)
    code: int = arguments.run(arguments)
    return code


def test_report_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("report", "--html", str(tmp_path / "a.html"), "--svg", str(tmp_path / "a.svg")) == 0
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype")
    assert command("report") == 0
    assert "JAMMED" in capsys.readouterr().out
    assert command("report", "mj1-nonsense") == 2


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
