"""`mailjam replay`: the same schedule again, in memory and on real sockets."""

from __future__ import annotations

import argparse

import pytest

from harness import replay as replay_command
from harness.explorer import Options, explore_scenario
from harness.replay import replay_on_wire
from harness.scenario import Scenario
from harness.wire import DIVERGED, JAM

DEFECTIVE, PATCHED = "5.5.2653.23", "5.5.2654.29"


async def test_a_hundred_replays_of_a_jam() -> None:
    scenario = Scenario(DEFECTIVE, ("append", "fetch"))
    minimised = explore_scenario(scenario, Options()).minimised
    assert minimised is not None
    result = await replay_on_wire(scenario, minimised.outcome, repeat=100)
    assert result.counts == {JAM: 100}
    assert result.exit_code == 0


async def test_another_program_diverges() -> None:
    """The tape of the defective build does not fit the patched one, whose outbound path enters `imail` first."""
    minimised = explore_scenario(Scenario(DEFECTIVE, ("smtp", "pop3")), Options()).minimised
    assert minimised is not None
    result = await replay_on_wire(Scenario(PATCHED, ("smtp", "pop3")), minimised.outcome)
    assert result.counts == {DIVERGED: 1}
    assert result.exit_code == 1
    assert "the tape says" in result.details[0] or "cannot go on" in result.details[0]


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    replay_command.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["replay", *words])
    code: int = arguments.run(arguments)
    return code


def test_replay_command(capsys: pytest.CaptureFixture[str]) -> None:
    minimised = explore_scenario(Scenario(DEFECTIVE, ("post", "article")), Options()).minimised
    assert minimised is not None
    token = minimised.schedule.token
    assert command(token) == 0
    assert command(token, "--wire", "--repeat", "3") == 0
    assert "3 of 3" in capsys.readouterr().out
    assert command(token, "--repeat", "3") == 0
    assert "in memory: 3 of 3 the same" in capsys.readouterr().out
    assert command(token, "--build", "patched", "--wire", "--repeat", "2") == 0
    assert "2 done" in capsys.readouterr().out
    assert command(token[:-2]) == 2
    assert command(token, "--minimise", "--json") == 0
