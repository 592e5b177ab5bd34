"""Minimisation in context switches, and the table."""

from __future__ import annotations

import pytest

from harness.exploration import (
    Actor,
    Cell,
    Factory,
    Lock,
    Schedule,
    brute_force,
    explore,
    minimise,
    random_runs,
    replay,
    sentences,
)
from harness.exploration.samples import nested, patched_two_locks, philosophers, two_locks


def jam_with_most_switches(factory: Factory) -> Schedule:
    jams = [outcome for outcome in random_runs(factory, 400, seed=2) if outcome.kind == "jam"]
    return Schedule.of(max(jams, key=lambda outcome: outcome.context_switches))


def turned_philosophers() -> list[Actor]:
    """Each thinks aloud before eating, so that a random jam has more switches than it needs."""
    locks, cell = [Lock("a"), Lock("b")], Cell("c", 0)

    async def body(first: Lock, second: Lock) -> None:
        for _ in range(4):
            await cell.read()
        await nested(first, second)

    return [Actor("one", body(locks[0], locks[1])), Actor("two", body(locks[1], locks[0]))]


def test_two_locks_are_reduced_to_one_switch_and_stay_replayable() -> None:
    found = max((o for o in brute_force(two_locks) if o.kind == "jam"), key=lambda o: o.context_switches)
    short = minimise(two_locks, Schedule.of(found, "two locks"))
    assert short.schedule.context_switches == 1
    assert short.one_minimal
    assert short.least_switches
    assert short.removals_tried >= 2
    again = replay(two_locks, Schedule.parse(short.schedule.token))
    assert again.kind == "jam"
    assert Schedule.parse(short.schedule.token).label == "two locks"


def test_three_actors_are_reduced_to_two_switches() -> None:
    certificate = explore(philosophers(3), "random", runs=300, seed=1)
    assert certificate.token is not None
    short = minimise(philosophers(3), Schedule.parse(certificate.token))
    assert short.schedule.context_switches == 2


def test_without_time_for_the_bounded_search_removal_alone_is_one_minimal() -> None:
    found = jam_with_most_switches(turned_philosophers)
    assert found.context_switches >= 4
    short = minimise(turned_philosophers, found, executions_max=0)
    assert short.one_minimal
    assert short.least_switches is None
    assert short.schedule.context_switches == 1


def test_what_does_not_jam_cannot_be_minimised() -> None:
    with pytest.raises(ValueError, match="ends as 'done'"):
        minimise(patched_two_locks, Schedule.of(next(brute_force(patched_two_locks))))


def test_the_table_shows_a_column_per_actor_and_where_each_stands() -> None:
    certificate = explore(two_locks)
    assert certificate.token is not None
    short = minimise(two_locks, Schedule.parse(certificate.token))
    lines = short.table().splitlines()
    assert lines[0].split() == ["step", "inbound", "outbound"]
    assert lines[1].split() == ["1", "acquire", "imail"]
    assert "inbound stands at `acquire store`" in short.table()
    assert sentences(short.outcome)[0] == "inbound does acquire imail."
