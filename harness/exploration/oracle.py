"""The oracle test of the reduction: random programs, brute force against source-DPOR, and a broken explorer as bait.

    python -m harness.exploration.oracle --programs 10000 --seed 1

compares the set of end states (ending, where each actor stands, shared data) and, where the program has only locks and
variables, the number of classes of equivalent executions.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from harness.exploration.dpor import SourceDpor
from harness.exploration.execution import Actor, Factory, Outcome, Program
from harness.exploration.objects import Cell, Condition, Event, Lock, Queue, RWLock, Semaphore
from harness.exploration.ops import Op
from harness.exploration.search import brute_force

KINDS = ("locks", "mixed", "waiting")


@dataclass(frozen=True, slots=True)
class RandomProgram:
    """A program as data: for each actor a list of (operation, object number)."""

    kind: str
    bodies: tuple[tuple[tuple[str, int], ...], ...]
    sizes: tuple[int, ...] = ()

    def factory(self) -> Program:
        world = _World(self.sizes)
        actors = [Actor(f"actor{number}", _perform(world, body)) for number, body in enumerate(self.bodies)]
        return Program(actors, world.state)


class _World:
    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.locks = [Lock(f"L{number}") for number in range(3)]
        self.cells = [Cell(f"c{number}", 0) for number in range(2)]
        self.semaphores = [Semaphore(f"s{number}", size) for number, size in enumerate(sizes[:2] or (1, 2))]
        self.queues = [Queue(f"q{number}", size) for number, size in enumerate(sizes[2:] or (1, 0))]
        self.events = [Event("e0")]
        self.rwlocks = [RWLock("rw0", writer_first=True), RWLock("rw1")]
        self.conditions = [Condition("cond0", self.locks[0])]
        self.log: list[int] = []

    def state(self) -> Hashable:
        return (
            tuple(cell.value for cell in self.cells),
            tuple(lock.owner for lock in self.locks),
            tuple(semaphore.value for semaphore in self.semaphores),
            tuple(tuple(queue.items) for queue in self.queues),
        )


async def _perform(world: _World, body: Iterable[tuple[str, int]]) -> list[Any]:
    seen: list[Any] = []
    for name, number in body:
        if name == "try":
            seen.append(await world.locks[number].try_acquire())
            if seen[-1]:
                await world.locks[number].release()
        elif name == "write":
            await world.cells[number].write((seen[-1] if seen else 0, number, len(seen)))
        elif name == "add":
            await world.cells[number].write((await world.cells[number].read() or 0) * 3 + 1)
        elif name == "wr":
            await world.rwlocks[number].write_acquire()
        elif name in ("sleep", "notify"):
            async with world.locks[0]:
                await (world.conditions[0].wait() if name == "sleep" else world.conditions[0].notify())
        else:
            value = await _SIMPLE[name](world, number)
            if name in ("read", "get"):
                seen.append(value)
    return seen


_SIMPLE: dict[str, Callable[[_World, int], Op]] = {
    "acquire": lambda world, number: world.locks[number].acquire(),
    "release": lambda world, number: world.locks[number].release(),
    "read": lambda world, number: world.cells[number].read(),
    "p": lambda world, number: world.semaphores[number].acquire(),
    "v": lambda world, number: world.semaphores[number].release(),
    "put": lambda world, number: world.queues[number].put(number),
    "get": lambda world, number: world.queues[number].get(),
    "set": lambda world, _: world.events[0].set(),
    "clear": lambda world, _: world.events[0].clear(),
    "wait": lambda world, _: world.events[0].wait(),
    "rd": lambda world, number: world.rwlocks[number].read_acquire(),
    "rd-": lambda world, number: world.rwlocks[number].read_release(),
    "wr-": lambda world, number: world.rwlocks[number].write_release(),
}


def random_program(generator: random.Random, kind: str) -> RandomProgram:
    """A small random program: `locks` (nested, also badly ordered), `mixed` (plus variables, try, semaphores,
    readers-writer locks), `waiting` (queues, events, conditions, semaphores)."""
    actors = generator.choice((2, 2, 2, 3))
    budgets = (2, 3, 4, 5, 6) if actors == 2 else (1, 2, 2, 3)
    bodies = tuple(tuple(_body(generator, kind, generator.choice(budgets))) for _ in range(actors))
    sizes = tuple(generator.choice((0, 1, 1, 2)) if number != 3 else 0 for number in range(4))
    sizes = (sizes[0], sizes[1], max(1, sizes[2]), 0)
    return RandomProgram(kind, bodies, sizes)


def _body(generator: random.Random, kind: str, budget: int) -> list[tuple[str, int]]:
    body: list[tuple[str, int]] = []
    held: list[tuple[str, int]] = []
    while len(body) + len(held) < budget:
        if held and generator.random() < 0.4:
            body.append(held.pop(generator.randrange(len(held))))
            continue
        name = generator.choice(_CHOICES[kind])
        number = generator.randrange(3 if name == "acquire" else 2)
        if name == "acquire":
            if ("release", number) in held and generator.random() < 0.8:
                continue
            held.append(("release", number))
        elif name == "p" and generator.random() < 0.8:
            held.append(("v", number))
        elif name in ("rd", "wr"):
            held.append((name + "-", number))
        body.append((name, number))
    return body + held[::-1]


_CHOICES = {
    "locks": ("acquire", "acquire", "acquire", "read", "add"),
    "mixed": ("acquire", "acquire", "read", "write", "add", "try", "p", "rd", "wr"),
    "waiting": ("acquire", "p", "v", "put", "get", "set", "clear", "wait", "sleep", "notify", "write"),
}


@dataclass(slots=True)
class Report:
    """`mismatches`: programs on which reduced and full search disagree; `skipped`: too large to compare."""

    programs: int = 0
    skipped: int = 0
    jamming: int = 0
    schedules: int = 0
    classes: int = 0
    pruned: int = 0
    mismatches: list[RandomProgram] = field(default_factory=list)


def end_states(outcomes: Iterable[Outcome], limit: int) -> tuple[set[Hashable], int] | None:
    """The end states and the number of executions; None beyond the limit."""
    states: set[Hashable] = set()
    count = 0
    for outcome in outcomes:
        count += 1
        if count > limit:
            return None
        states.add((outcome.end_state, tuple(sorted((name, repr(value)) for name, value in outcome.results.items()))))
    return states, count


def compare(programs: int, seed: int, *, schedules_max: int = 400, detect_blocked: bool = True) -> Report:
    """Compare on `programs` random programs whose full search has at most `schedules_max` executions."""
    generator = random.Random(seed)  # noqa: S311 - a repeatable choice, not a secret
    report = Report()
    while report.programs < programs:
        program = random_program(generator, KINDS[report.programs % len(KINDS)])
        factory: Factory = program.factory
        full = end_states(brute_force(factory), schedules_max)
        if full is None:
            report.skipped += 1
            continue
        report.programs += 1
        report.schedules += full[1]
        report.jamming += any(state[0][0] == "jam" for state in full[0])  # type: ignore[index]
        search = SourceDpor(factory, detect_blocked=detect_blocked)
        reduced = end_states(search, schedules_max)
        report.classes += search.statistics.executions
        report.pruned += search.statistics.pruned
        if reduced is None or reduced[0] != full[0]:
            report.mismatches.append(program)
    return report


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: no mismatch, and the broken explorer was caught; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m harness.exploration.oracle", description=__doc__)
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schedules-max", type=int, default=400)
    arguments = parser.parse_args(argv)
    start = time.perf_counter()
    report = compare(arguments.programs, arguments.seed, schedules_max=arguments.schedules_max)
    print(
        f"{report.programs} programs ({report.jamming} can jam, {report.skipped} larger ones skipped): "
        f"{report.schedules} schedules by brute force, {report.classes} by source-DPOR (+ {report.pruned} cut short), "
        f"{len(report.mismatches)} mismatches, {time.perf_counter() - start:.1f} s"
    )
    for program in report.mismatches[:5]:
        print(" ", program)
    broken = compare(
        max(120, arguments.programs // 20), arguments.seed, schedules_max=arguments.schedules_max, detect_blocked=False
    )
    print(f"broken explorer: {len(broken.mismatches)} mismatches in {broken.programs} programs")
    return 0 if not report.mismatches and broken.mismatches else 1


if __name__ == "__main__":
    sys.exit(main())
