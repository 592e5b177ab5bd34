"""Verdicts: PASS only with a complete search and two participants."""

from __future__ import annotations

import json

import pytest

from harness.exploration import Actor, Cell, Lock, Schedule, Verdict, check_determinism, explore
from harness.exploration.samples import patched_two_locks, philosophers, two_locks


def test_jam_has_a_token_and_exit_code_one() -> None:
    certificate = explore(two_locks, label="q279798")
    assert certificate.verdict is Verdict.JAM
    assert certificate.verdict.exit_code == 1
    assert certificate.token is not None
    assert Schedule.parse(certificate.token).label == "q279798"
    assert (certificate.executions, certificate.jams, certificate.objects) == (3, 1, 2)
    assert json.loads(json.dumps(certificate.as_dict()))["verdict"] == "JAM"
    assert certificate.text().startswith("JAM: 1 of 3")


def test_pass_needs_exhaustion() -> None:
    certificate = explore(patched_two_locks)
    assert certificate.verdict is Verdict.PASS
    assert certificate.verdict.exit_code == 0
    assert certificate.participants == ("inbound", "outbound")
    for strategy in ("random", "pct"):
        other = explore(patched_two_locks, strategy, runs=20)
        assert other.verdict is Verdict.INCONCLUSIVE
        assert other.verdict.exit_code == 3
    assert "probability of at least 0.0625" in explore(patched_two_locks, "pct", runs=20).text()


def test_one_participant_is_never_a_pass() -> None:
    def alone() -> list[Actor]:
        cell = Cell("c", 0)

        async def body() -> None:
            await cell.write(1)

        return [Actor("alone", body())]

    certificate = explore(alone)
    assert certificate.exhausted
    assert certificate.verdict is Verdict.INCONCLUSIVE
    assert "only 1 controlled participant" in certificate.reason


def test_limits_make_it_inconclusive_unless_a_jam_was_found() -> None:
    assert explore(patched_two_locks, executions_max=1).verdict is Verdict.INCONCLUSIVE
    assert explore(patched_two_locks, executions_max=2).verdict is Verdict.PASS
    stopped = explore(philosophers(4), stop_at_jam=True)
    assert stopped.verdict is Verdict.JAM
    assert not stopped.exhausted


def test_an_error_of_an_actor_is_inconclusive_with_its_schedule() -> None:
    def program() -> list[Actor]:
        lock, cell = Lock("l"), Cell("c", 0)

        async def check() -> None:
            async with lock:
                assert await cell.read() == 0

        async def change() -> None:
            async with lock:
                await cell.write(1)

        return [Actor("check", check()), Actor("change", change())]

    certificate = explore(program)
    assert certificate.verdict is Verdict.INCONCLUSIVE
    assert "AssertionError" in certificate.reason
    assert certificate.failures == 1
    assert certificate.token is not None


def test_unknown_strategies_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown strategy 'magic'"):
        explore(two_locks, "magic")


def test_determinism_check() -> None:
    certificate = explore(two_locks)
    assert certificate.token is not None
    assert check_determinism(two_locks, Schedule.parse(certificate.token))
