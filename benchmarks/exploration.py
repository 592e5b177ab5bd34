"""Schedules per second of the exploration core, on the two-lock programs of `harness.exploration.samples`.

    python benchmarks/exploration.py [--seconds 2]

Each strategy runs for that long, in CPU time of one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable

from harness.exploration import Outcome, Pct, SourceDpor, brute_force, random_runs
from harness.exploration.samples import patched_two_locks, two_locks


def rate(make: Callable[[], Iterable[Outcome]], seconds: float) -> float:
    count = 0
    start = time.process_time()
    while (elapsed := time.process_time() - start) < seconds:
        for _ in make():
            count += 1
    return count / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds = parser.parse_args().seconds
    programs = {
        "two locks": two_locks,
        "two locks, patched": patched_two_locks,
        "two locks, 10 ops": lambda: two_locks(reads=6),
    }
    for name, program in programs.items():
        pct = Pct(program, 2, 1)
        strategies: dict[str, Callable[[], Iterable[Outcome]]] = {
            "source-DPOR": lambda program=program: SourceDpor(program),  # type: ignore[misc]
            "random": lambda program=program: random_runs(program, 500, 1),  # type: ignore[misc]
            "PCT d=2": lambda pct=pct: pct.runs(500),  # type: ignore[misc]
        }
        if "10" not in name:
            strategies["brute force"] = lambda program=program: brute_force(program)  # type: ignore[misc]
        for strategy, make in strategies.items():
            print(f"{name:<20} {strategy:<12} {rate(make, seconds):9,.0f} schedules/s")


if __name__ == "__main__":
    main()
