"""Schedules per second: the engine alone, the real store and converter in memory, real protocol sessions, real TCP.

    python benchmarks/explorer.py [--seconds N]

One core, in processor time; for TCP also in wall-clock time, which on a machine with other work says how much of it
was left. Each figure is the best of many short rounds, since another program on the machine can only slow it down.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import time
from collections.abc import Awaitable, Callable
from itertools import product

from harness.exploration.certificate import explore
from harness.exploration.execution import Actor, Factory, Program
from harness.exploration.objects import Lock
from harness.exploration.schedule import Schedule
from harness.exploration.search import run as run_once
from harness.exploration.search import stay
from harness.explorer import Options, calm_collector, explore_scenario
from harness.scenario import Scenario
from harness.wire_bench import Bench

ROUNDS = 60
MEMORY = (
    ("store and converter", ("put", "get")),
    ("store and converter, 4 actors", ("put", "put", "get", "get")),
    ("inbound worker, POP3", ("smtp", "pop3")),
    ("gateway, NNTP", ("gateway-in", "article")),
    ("IMAP4 APPEND, FETCH", ("append", "fetch")),
)
WIRE = (
    *product(("smtp", "post", "append", "gateway-in"), ("pop3", "fetch", "article")),
    ("report", "gateway-out"),
    ("notification", "fetch"),
    ("smtp", "smtp"),
)
WIRE_ROUNDS = 12


def two_locks() -> Program:
    """The engine's own cost: two actors, two locks, ten operations each."""
    one, two = Lock("one"), Lock("two")

    async def body(first: Lock, second: Lock) -> None:
        for _ in range(2):
            await first.acquire()
            await second.acquire()
            await second.release()
            await first.release()

    return Program([Actor("a", body(one, two)), Actor("b", body(one, two))])


def per_second(factory: Factory, strategy: str, seconds: float) -> float:
    """Complete and pruned executions per second of processor time."""
    best = 0.0
    runs = 1_000 if strategy == "pct" else 100  # PCT probes how long the program is before it runs it
    with calm_collector():
        explore(factory, strategy, runs=100)  # what is made once, is made
        for number in range(ROUNDS * 100 // runs):
            started, count = time.process_time(), 0
            while not count or time.process_time() - started < seconds / ROUNDS:
                found = explore(factory, strategy, runs=runs, seed=number, executions_max=runs)
                count += found.executions + found.pruned
            best = max(best, count / (time.process_time() - started))
    return best


async def wire_per_second(scenario: Scenario, seconds: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Schedules per second over TCP: random ones, and replays of the shortest jam (of one schedule that does not)."""
    finding = explore_scenario(scenario, Options(checks=False))
    minimised = finding.minimised
    calm = Schedule.of(run_once(scenario.program, stay), scenario.label)
    tape = scenario.operations(minimised.schedule if minimised is not None else calm)
    ending = "jam" if minimised is not None else "done"
    generator = random.Random(1)
    async with Bench(scenario) as bench:

        async def freely() -> None:
            await bench.run(lambda enabled, last: generator.choice(enabled))

        async def replay() -> None:
            assert (await bench.follow(tape)).kind == ending

        return await _rates(freely, seconds), await _rates(replay, seconds)


async def _rates(run: Callable[[], Awaitable[None]], seconds: float) -> tuple[float, float]:
    """Best rates by processor time and by wall clock."""
    by_processor = by_clock = 0.0
    for _ in range(WIRE_ROUNDS):
        started, clock, count = time.process_time(), time.perf_counter(), 0
        while (spent := time.process_time() - started) < seconds / WIRE_ROUNDS:
            await run()
            count += 1
        by_processor = max(by_processor, count / spent)
        by_clock = max(by_clock, count / (time.perf_counter() - clock))
    return by_processor, by_clock


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each figure (default: %(default)s)")
    seconds = parser.parse_args().seconds
    print(f"Python {platform.python_version()}, schedules/s, best of {ROUNDS}")
    print(f"{'in memory':32} {'random':>9} {'pct':>9} {'dpor':>9}")
    rows: list[tuple[str, Factory]] = [("engine alone (16 operations)", two_locks)]
    rows += [(name, Scenario("5.5.2654.29", kinds).program) for name, kinds in MEMORY]
    for name, factory in rows:
        figures = [per_second(factory, strategy, seconds) for strategy in ("random", "pct", "dpor")]
        print(f"{name:32} " + " ".join(f"{figure:9,.0f}" for figure in figures), flush=True)
    print(f"{'over TCP':32} {'random':>9} {'(clock)':>9} {'replay':>9} {'(clock)':>9}")
    for kinds in WIRE:
        pairs = asyncio.run(wire_per_second(Scenario("5.5.2653.23", kinds), seconds / 2))
        print(f"{', '.join(kinds):32} " + " ".join(f"{rate:9,.0f}" for pair in pairs for rate in pair), flush=True)


if __name__ == "__main__":
    main()
