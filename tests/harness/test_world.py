"""The explorer's world: the real system, fresh in every execution, with nothing left to chance."""

from __future__ import annotations

import pytest

from emulator import poison
from emulator.builds import find_build
from emulator.scheduling import READY, Point
from harness.exploration.certificate import Verdict, check_soundness, explore
from harness.exploration.execution import Execution
from harness.exploration.ops import set_running
from harness.exploration.schedule import Schedule
from harness.exploration.search import random_runs, replay
from harness.participants import KINDS
from harness.scenario import Scenario, check_participation
from harness.world import ExploredScheduler

DEFECTIVE, PATCHED, LAST = "5.5.2653.23", "5.5.2654.29", "5.5.2655.37"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_participant_takes_its_path_and_is_served(kind: str) -> None:
    scenario = Scenario(LAST, (kind,))
    check_participation(scenario)
    execution = Execution(scenario.program)
    while enabled := execution.enabled():
        execution.step(enabled[0])
    outcome = execution.outcome()
    assert outcome.kind == "done"
    path = KINDS[kind].path
    assert [point for point in outcome.operations if point.endswith(".wanted")] == [
        f"{path}.{section}.wanted" for section in find_build(LAST).order(path)
    ]


@pytest.mark.parametrize(
    ("kind", "answer"), [("pop3", b"+OK 2"), ("fetch", b"c OK"), ("article", b"220 "), ("post", b"240 ")]
)
def test_sessions_answer_their_peers(kind: str, answer: bytes) -> None:
    world = Scenario(LAST, (kind,)).world()
    execution = Execution(world.program)
    while enabled := execution.enabled():
        execution.step(enabled[0])
    set_running(None)
    sent = b"".join(world.connections[0][1].sent)
    assert answer in sent, sent


def test_same_schedule_same_trace_and_state() -> None:
    scenario = Scenario(DEFECTIVE, ("smtp", "fetch"))
    for outcome in random_runs(scenario.program, 50, seed=3):
        schedule = Schedule.of(outcome, scenario.label)
        again = replay(scenario.program, schedule)
        assert again.operations == outcome.operations
        assert again.end_state == outcome.end_state


@pytest.mark.parametrize("kinds", [("put", "get"), ("post", "article"), ("append", "pop3")])
@pytest.mark.parametrize("build", [DEFECTIVE, PATCHED])
def test_the_reduction_loses_no_end_state(kinds: tuple[str, ...], build: str) -> None:
    assert check_soundness(Scenario(build, kinds).program, executions_max=4000) is True


def test_two_readers_of_one_message_share_the_cache_in_some_orders_only() -> None:
    scenario = Scenario(PATCHED, ("article", "article"))
    lengths = {len(outcome.order) for outcome in random_runs(scenario.program, 30, seed=1)}
    assert lengths == {12}, "two articles, two conversions"


def test_a_stage_is_passed_and_a_section_is_a_guarded_operation() -> None:
    assert ExploredScheduler().reach(Point("outbound.emit")) is READY
    world = Scenario(DEFECTIVE, ("put",)).world()
    section = world.sections["imail"]
    op = world.scheduler.reach(Point("x.imail.wanted", "acquire", "section:imail"))
    assert op.enabled()  # type: ignore[attr-defined]
    section.owner = world.actors[0]
    assert not op.enabled()  # type: ignore[attr-defined]
    for engine_actor in world.program().actors:
        engine_actor.coroutine.close()


def test_an_endless_conversion_reaches_the_limit_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewind loop is no deadlock: the explorer says INCONCLUSIVE and never PASS."""
    scenario = Scenario(LAST, ("put", "get"), frozenset({"long-subject-loop"}))
    assert explore(scenario.program).verdict is Verdict.PASS, "these messages have short subjects"
    monkeypatch.setitem(poison.TRIGGERS, "unterminated multipart", lambda octets, part: True)
    endless = Scenario(LAST, ("put", "get"), frozenset({"rewind-loop"}))
    certificate = explore(endless.program, executions_max=3, steps_max=100)
    assert certificate.verdict is Verdict.INCONCLUSIVE
