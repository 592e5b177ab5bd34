"""The shortest way into a jam, counted in context switches, and its table for a reader."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import groupby

from harness.exploration.execution import Blocked, Factory, Outcome
from harness.exploration.schedule import Schedule, local_order
from harness.exploration.search import bounded_switches, replay, run_order

SWITCHES_SEARCHED_MAX = 4


@dataclass(slots=True)
class Minimised:
    """`one_minimal`: every single removal of a stretch was tried and none still jams with fewer switches.

    `least_switches`: all schedules with fewer context switches were run and none jams (None: not within the limits).
    """

    outcome: Outcome
    schedule: Schedule
    removals_tried: int
    one_minimal: bool
    least_switches: bool | None

    def table(self) -> str:
        return table(self.outcome)


def minimise(
    factory: Factory, schedule: Schedule, *, executions_max: int = 20_000, seconds_max: float = 30.0
) -> Minimised:
    """Reduce a jamming schedule. Raises ValueError when it does not jam, DivergedError when it does not fit."""
    outcome = replay(factory, schedule)
    if outcome.kind != "jam":
        raise ValueError(f"only a schedule that jams can be minimised; this one ends as {outcome.kind!r}")
    deadline = time.monotonic() + seconds_max
    least, found = _fewest_switches(factory, outcome, executions_max, deadline)
    best = found or outcome
    tried = 0
    improved = True
    while improved and time.monotonic() < deadline:
        improved = False
        runs = _runs(best)
        for position in range(len(runs)):
            for shorter in _removals(runs, position):
                tried += 1
                other = run_order(factory, shorter)
                if other.kind == "jam" and _size(other) < _size(best):
                    best, improved = other, True
                    break
            if improved:
                break
    return Minimised(best, Schedule.of(best, schedule.label), tried, not improved, least)


def _size(outcome: Outcome) -> tuple[int, int]:
    return (outcome.context_switches, len(outcome.order))


def _runs(outcome: Outcome) -> list[tuple[int, int]]:
    return [(actor, len(list(steps))) for actor, steps in groupby(local_order(outcome))]


def _removals(runs: list[tuple[int, int]], position: int) -> list[list[tuple[int, int]]]:
    """What is left without one stretch, without its last step, and with it moved behind its neighbour."""
    actor, steps = runs[position]
    before, after = runs[:position], runs[position + 1 :]
    variants = [before + after]
    if steps > 1:
        variants.append([*before, (actor, steps - 1), *after])
    if after:
        variants.append([*before, after[0], runs[position], *after[1:]])
    return variants


def _fewest_switches(
    factory: Factory, outcome: Outcome, executions_max: int, deadline: float
) -> tuple[bool | None, Outcome | None]:
    """Run all schedules with 0, 1, 2… context switches; the first jam has the fewest of all."""
    done = 0
    for switches in range(min(outcome.context_switches, SWITCHES_SEARCHED_MAX + 1)):
        best: Outcome | None = None
        for other in bounded_switches(factory, switches):
            done += 1
            if other.kind == "jam" and (best is None or _size(other) < _size(best)):
                best = other
            if done > executions_max or time.monotonic() > deadline:
                return None, best
        if best is not None:
            return True, best
    return (True if outcome.context_switches <= SWITCHES_SEARCHED_MAX + 1 else None), None


def table(outcome: Outcome) -> str:
    """The execution actor by actor: a column each, a row per operation, a line at each context switch."""
    columns = outcome.started
    names = [outcome.names[index] for index in columns]
    told = outcome.operations
    width = max([len(name) for name in names] + [len(text) for text in told] + [4]) + 2
    lines = ["step  " + "".join(name.ljust(width) for name in names).rstrip()]
    previous = -1
    for step, (index, operation) in enumerate(zip(outcome.order, told, strict=True), 1):
        if previous not in (-1, index):
            lines.append("      " + "-" * (width * len(names) - 2))
        lines.append(f"{step:>4}  " + " " * (width * columns.index(index)) + operation)
        previous = index
    if outcome.blocked:
        lines.append("      " + "=" * (width * len(names) - 2))
        lines.extend("      " + _stands(blocked) for blocked in outcome.blocked)
    return "\n".join(lines)


def _stands(blocked: Blocked) -> str:
    return f"{blocked.actor} stands at `{blocked.operation}` after {blocked.steps_done} operations and never goes on"


def sentences(outcome: Outcome) -> list[str]:
    """One sentence per stretch between context switches."""
    told = []
    operations = outcome.operations
    position = 0
    for index, steps in groupby(outcome.order):
        count = len(list(steps))
        done = ", ".join(operations[position : position + count])
        position += count
        told.append(f"{outcome.names[index]} does {done}.")
    told.extend(_stands(blocked) + "." for blocked in outcome.blocked)
    return told
