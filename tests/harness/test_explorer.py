"""`mailjam explore`: jams with the defect, proofs without it."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from emulator.builds import find_build
from harness import explorer
from harness.cli import main
from harness.exploration.certificate import Verdict
from harness.exploration.schedule import Schedule
from harness.explorer import Options, explore_scenario
from harness.scenario import ARTICLES, Scenario


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    explorer.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["explore", *words])
    code: int = arguments.run(arguments)
    return code


@pytest.mark.parametrize("pair", ARTICLES["q279798"].pairs, ids="-".join)
def test_every_pair_jams_with_the_defect_and_is_proved_free_without(pair: tuple[str, str]) -> None:
    jam = explore_scenario(Scenario("5.5.2653.23", pair), Options(checks=False))
    assert jam.verdict is Verdict.JAM
    assert jam.minimised is not None
    assert jam.minimised.one_minimal
    assert jam.minimised.schedule.context_switches <= 2
    free = explore_scenario(Scenario("5.5.2654.29", pair), Options(checks=False))
    assert free.verdict is Verdict.PASS
    assert free.certificate.exhausted


@pytest.mark.parametrize(
    ("name", "build", "verdict"),
    [
        ("q274403", "5.5.2653.6", Verdict.PASS),
        ("q274403", "5.5.2653.7", Verdict.JAM),
        ("q274403", "5.5.2653.18", Verdict.JAM),
        ("q274403", "5.5.2653.19", Verdict.PASS),
        ("q295969", "5.5.2654.29", Verdict.JAM),
        ("q295969", "5.5.2654.94", Verdict.PASS),
    ],
)
def test_the_family(name: str, build: str, verdict: Verdict) -> None:
    for pair in ARTICLES[name].pairs:
        assert explore_scenario(Scenario(build, pair), Options(checks=False)).verdict is verdict


def test_three_participants() -> None:
    free = explore_scenario(Scenario("5.5.2654.29", ("smtp", "append", "pop3")), Options(checks=False))
    assert free.verdict is Verdict.PASS
    jam = explore_scenario(Scenario("5.5.2653.23", ("smtp", "append", "pop3")), Options(checks=False))
    assert jam.certificate.jams > 1
    assert jam.minimised is not None
    assert jam.minimised.schedule.context_switches <= 2


@pytest.mark.parametrize("strategy", ["pct", "random"])
def test_sampling_finds_the_jam_and_never_proves(strategy: str) -> None:
    jam = explore_scenario(Scenario("5.5.2653.23", ("put", "get")), Options(strategy, runs=200, seed=1))
    assert jam.verdict is Verdict.JAM
    free = explore_scenario(Scenario("5.5.2654.29", ("put", "get")), Options(strategy, runs=50, seed=1))
    assert free.verdict is Verdict.INCONCLUSIVE


def test_one_participant_proves_nothing() -> None:
    assert explore_scenario(Scenario("5.5.2654.29", ("smtp",)), Options()).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("build", ["5.5.2653.23", "5.5.2654.29"])
def test_the_explorer_checks_itself(build: str) -> None:
    finding = explore_scenario(Scenario(build, ("smtp", "fetch")), Options())
    assert (finding.deterministic, finding.sound) == (True, True)


def test_a_failed_check_of_the_explorer_withdraws_the_verdict() -> None:
    finding = explore_scenario(Scenario("5.5.2654.29", ("put", "get")), Options())
    finding.sound = False
    assert finding.verdict is Verdict.INCONCLUSIVE


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("q279798", "--actors", "put,get") == 1
    shown = capsys.readouterr().out
    assert "verdict: JAM" in shown
    token = next(line for line in shown.splitlines() if line.startswith("token: ")).removeprefix("token: ")
    assert Schedule.parse(token).label == "5.5.2653.23 put,get"
    assert command("q279798", "--build", "patched", "--actors", "put,get", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found[0]["verdict"] == "PASS"
    assert found[0]["reduced_and_full_search_agree"] is True
    assert command("q279798", "--build", "patched", "--actors", "put,get", "--strategy", "pct", "--runs", "10") == 3
    assert command("q1") == 2
    assert command("q279798", "--actors", "nobody") == 2


def test_an_interrupted_search_says_how_far_it_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = explorer.explore_scenario
    calls: list[object] = []

    def once(scenario: Any, options: Any) -> Any:
        calls.append(scenario)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return original(scenario, options)

    monkeypatch.setattr(explorer, "explore_scenario", once)
    assert main(["explore", "q279798", "--first"]) == 130
    line = capsys.readouterr().err
    assert line.startswith("mailjam: interrupted after 1 of ")
    assert "mj1-" in line


def test_without_a_build_each_deadlock_is_looked_for_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for name, article in ARTICLES.items():
        assert main(["explore", name, "--first", "--no-checks"]) == 1, name
        assert article.defect in find_build(capsys.readouterr().out.split()[2]).defects
