"""Prediction from one run that did not jam, against the truth: `harness.lockdep` beside the explorer.

    python -m benchmarks.prediction [--programs 4000] [--seed 1]

Random programs of two or three tasks and three locks, taken within each other with an await between. The explorer tells
whether some schedule jams. Then each program is run once on asyncio, its tasks one after the other, so that this run
cannot jam, and the watch says what it predicts. `missed`: jams that were not predicted; `false`: predictions where
nothing can jam.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

from harness import lockdep
from harness.exploration.dpor import SourceDpor
from harness.exploration.oracle import RandomProgram

LOCKS = 3
APART = 40  # turns of the loop between the starts of two tasks: more than the longest body needs


@dataclass(slots=True)
class Report:
    """What was counted."""

    programs: int = 0
    jamming: int = 0
    predicted: int = 0
    missed: int = 0
    false: int = 0


def draw(generator: random.Random) -> RandomProgram:
    """A program: each task takes locks, mostly while it holds others, and gives them back in any order."""
    tasks = generator.choice((2, 2, 3))
    bodies = []
    for _ in range(tasks):
        held: list[int] = []
        body: list[tuple[str, int]] = []
        for _ in range(generator.choice((2, 3, 4, 5) if tasks == 2 else (2, 2, 3))):
            while held and (len(held) == LOCKS or generator.random() < 0.3):
                body.append(("release", held.pop(generator.randrange(len(held)))))
            lock = generator.choice([number for number in range(LOCKS) if number not in held])
            held.append(lock)
            body.append(("acquire", lock))
        body += [("release", number) for number in reversed(held)]
        bodies.append(tuple(body))
    return RandomProgram("locks", tuple(bodies))


async def one_after_the_other(program: RandomProgram) -> None:
    """Run it on asyncio so that no two of its tasks ever want the same lock at once."""
    locks = [asyncio.Lock() for _ in range(LOCKS)]

    async def perform(turns: int, body: Iterable[tuple[str, int]]) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        for name, number in body:
            if name == "acquire":
                await locks[number].acquire()
            else:
                locks[number].release()
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number, body in enumerate(program.bodies):
            group.create_task(perform(number * APART, body))


def predicts(program: RandomProgram) -> bool:
    """Does the watch of one passing run tell an order that could jam?"""
    with lockdep.watch() as watch:
        asyncio.run(one_after_the_other(program))
    return any(finding.kind == "order" and finding.fails for finding in watch.findings())


def compare(programs: int, seed: int) -> Report:
    """Count over that many random programs; the same seed gives the same ones."""
    generator = random.Random(seed)
    report = Report()
    while report.programs < programs:
        program = draw(generator)
        report.programs += 1
        jams = any(outcome.kind == "jam" for outcome in SourceDpor(program.factory))
        predicted = predicts(program)
        report.jamming += jams
        report.predicted += predicted and jams
        report.missed += jams and not predicted
        report.false += predicted and not jams
        if predicted != jams:
            print(f"{'missed' if jams else 'false'}: {program.bodies}")
    return report


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    started = time.process_time()
    report = compare(arguments.programs, arguments.seed)
    print(
        f"{report.programs} programs, {report.jamming} can jam: {report.predicted} predicted from a run that did not, "
        f"{report.missed} missed, {report.false} false alarms ({time.process_time() - started:.0f} s)"
    )


if __name__ == "__main__":
    main()
