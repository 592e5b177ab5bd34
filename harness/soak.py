"""`mailjam soak`: seeded random traffic without gates, until the system jams by itself or the time is up."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

from emulator.config import Account, Settings
from emulator.scheduling import Preemption
from emulator.server import Server

from .arguments import duration, how_many
from .traffic import CLIENTS, GROUPS, PASSWORD, USERS, Traffic
from .watcher import Jam, Watcher


@dataclass(slots=True)
class SoakResult:
    """What one seed showed."""

    build: str
    seed: int
    seconds: float
    """To the jam, or in all."""
    jam: Jam | None = None
    counts: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)


async def soak(build: str, seed: int, seconds_max: float, *, clients: int = CLIENTS) -> SoakResult:
    """Run mixed traffic against one server for at most `seconds_max` seconds."""
    settings = Settings(
        build=build,
        accounts=tuple(Account(name, PASSWORD) for name in USERS),
        groups=GROUPS,
        preemption=Preemption(seed=seed),
        tls=False,
    )
    server = Server(settings)
    await server.start()
    started = time.monotonic()
    try:
        async with Watcher(server) as watcher:
            traffic = Traffic(server, seed, clients=clients)
            talk = asyncio.get_running_loop().create_task(traffic.run(), name="traffic")
            jam = asyncio.get_running_loop().create_task(watcher.wait_for_jam(seconds_max), name="jam")
            await asyncio.wait((talk, jam), timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
            seconds = time.monotonic() - started
            for task in (talk, jam):
                task.cancel()
            await asyncio.wait((talk, jam))
            if talk.done() and not talk.cancelled() and talk.exception() is not None and not watcher.jams:
                traffic.problems[f"traffic ended: {talk.exception()!r}"] += 1
            return SoakResult(
                server.build.number,
                seed,
                seconds,
                watcher.jams[0] if watcher.jams else None,
                traffic.counts,
                traffic.problems,
            )
    finally:
        await server.kill()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mailjam soak`."""
    parser = subparsers.add_parser("soak", help="seeded random traffic until it jams or time is up")
    parser.add_argument("--build", default="5.5.2653.23")
    parser.add_argument("--seconds", type=duration, default=60.0, help="for each seed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: %(default)s)")
    parser.add_argument("--seeds", type=how_many, default=1, help="how many seeds, one after the other")
    parser.add_argument("--clients", type=how_many, default=CLIENTS, help="connections (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0: no seed jammed; 1: at least one did; 3: the traffic itself failed, so that nothing is known."""
    results = []
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        result = asyncio.run(soak(arguments.build, seed, arguments.seconds, clients=arguments.clients))
        results.append(result)
        print(_line(result), flush=True)
        for problem, count in result.problems.most_common(5):
            print(f"    {count} x {problem}")
    jammed = [result.seconds for result in results if result.jam]
    if len(results) > 1:
        median = f", median time to jam {statistics.median(jammed):.2f} s" if jammed else ""
        print(f"{len(jammed)} of {len(results)} seeds jammed{median}")
    if jammed:
        return 1
    broken = any(name.startswith("traffic ended") for result in results for name in result.problems)
    return 3 if broken or not all(result.counts for result in results) else 0


def _line(result: SoakResult) -> str:
    done = ", ".join(f"{count} {name}" for name, count in sorted(result.counts.items())) or "nothing done"
    if result.jam is None:
        return f"seed {result.seed}: {result.build} did not jam in {result.seconds:.1f} s ({done})"
    cycle = "\n".join(f"    {edge}" for edge in result.jam.cycle)
    return f"seed {result.seed}: {result.build} jammed after {result.seconds:.2f} s ({done})\n{cycle}"
