"""Explaining a jam: of a schedule in memory and of a running server."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from emulator.builds import DEFAULT_BUILD
from emulator.server import Server
from harness import explain, page
from harness.explain import Standstill, default_schedule, snapshot, standstill, text_lines
from harness.exploration.schedule import Schedule
from harness.scenario import Scenario
from harness.scenarios.stage import Stage


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
        assert " waits for " in actor["position"]
        assert any("Passage.__aenter__" in frame for frame in actor["stack"])
        assert any("CriticalSection.enter" in frame for frame in actor["stack"])
    assert any("ending one of" in item for item in state["frees"])
    text = "\n".join(text_lines(state))
    assert "JAMMED" in text
    assert "--wants directory-->" in text
    json.dumps(state)


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
    foreign = Schedule((7,), "5.5.2653.23 smtp,pop3")  # as from a version with other participants
    assert command("report", foreign.token) == 2
    assert "another version" in capsys.readouterr().err


def test_holdings() -> None:
    steps = [("a", "inbound.imail.wanted"), ("b", "outbound.directory.wanted"), ("a", "inbound.imail.leaving")]
    assert explain.holdings(steps) == [("imail", "a", 0, 2), ("directory", "b", 1, None)]


def test_a_schedule_has_steps_instead_of_seconds(still: Standstill) -> None:
    text = "\n".join(text_lines(still.state, stacks=False))
    assert "1 imail      held since step 2 by inbound-1" in text
    assert "has waited" not in text
    assert "halts: reading and delivering" in text
