"""Schedules on real sockets: what the explorer finds, the wire shows; what does not fit is said."""

from __future__ import annotations

import argparse
from collections import Counter

import pytest

from harness import replay as replay_command
from harness import wire
from harness.exploration.certificate import Verdict
from harness.exploration.dpor import SourceDpor
from harness.exploration.schedule import Schedule
from harness.exploration.search import random_runs, replay
from harness.explorer import Options, explore_scenario
from harness.participants import UnknownParticipant
from harness.replay import replay_on_wire
from harness.scenario import ARTICLES, Scenario
from harness.wire import DIVERGED, DONE, INCONCLUSIVE, JAM
from harness.wire_bench import Bench
from harness.wire_explorer import explore_freely, explore_on_wire

DEFECTIVE, PATCHED = "5.5.2653.23", "5.5.2654.29"


@pytest.mark.parametrize("pair", ARTICLES["q279798"].pairs, ids="-".join)
async def test_every_class_of_schedules_goes_the_same_way_on_the_wire(pair: tuple[str, str]) -> None:
    jam = await explore_on_wire(Scenario(DEFECTIVE, pair), Options())
    assert jam.verdict is Verdict.JAM, jam.problem
    assert jam.counts[JAM] == 1
    assert len(jam.cycle) == 2
    free = await explore_on_wire(Scenario(PATCHED, pair), Options())
    assert free.verdict is Verdict.PASS, free.problem
    assert set(free.counts) == {DONE}


@pytest.mark.parametrize(
    ("kinds", "build"),
    [
        (("notification", "smtp"), "5.5.2653.18"),
        (("report", "gateway-out"), PATCHED),
        (("smtp", "smtp", "fetch"), DEFECTIVE),
    ],
)
async def test_random_schedules_of_the_explorer_replay_on_the_wire(kinds: tuple[str, ...], build: str) -> None:
    scenario = Scenario(build, kinds)
    endings: Counter[str] = Counter()
    async with Bench(scenario) as bench:
        for outcome in random_runs(scenario.program, 25, seed=7):
            tape = [(actor, str(op)) for actor, op in zip(outcome.order, outcome.performed, strict=True)]
            found = await bench.follow(tape)
            assert (found.kind, found.tape) == (outcome.kind, tape), found.detail
            endings[found.kind] += 1
    assert endings[JAM]
    assert endings[DONE]


async def test_what_happened_on_the_wire_can_be_replayed_in_memory() -> None:
    scenario = Scenario(DEFECTIVE, ("smtp", "pop3"))
    finding = await explore_freely(scenario, 30, seed=2)
    assert finding.counts[JAM]
    assert finding.counts[DONE]
    assert finding.token is not None
    outcome = replay(scenario.program, Schedule.parse(finding.token))
    assert outcome.kind == "jam"


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


async def test_one_participant_never_passes() -> None:
    scenario = Scenario(PATCHED, ("pop3",))
    outcome = next(iter(SourceDpor(scenario.program)))
    result = await replay_on_wire(scenario, outcome)
    assert result.counts == {INCONCLUSIVE: 1}
    assert (await explore_on_wire(scenario, Options())).verdict is Verdict.INCONCLUSIVE


async def test_a_participant_that_does_not_arrive_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "STALL_SECONDS_MAX", 0.2)
    async with Bench(Scenario(PATCHED, ("smtp", "pop3"))) as bench:

        async def silent() -> None:
            await bench._expect(99)

        monkeypatch.setattr(bench.drivers[1], "request", silent)
        outcome = await bench.run(lambda enabled, last: enabled[0])
        assert outcome.kind == INCONCLUSIVE
        assert "nothing moved" in outcome.detail


def test_kinds_without_a_client_are_refused() -> None:
    with pytest.raises(UnknownParticipant):
        Bench(Scenario(PATCHED, ("put", "get")))


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
    assert command(token, "--build", "patched", "--wire", "--repeat", "2") == 0
    assert "2 done" in capsys.readouterr().out
    assert command(token[:-2]) == 2
    assert command(token, "--minimise", "--json") == 0
