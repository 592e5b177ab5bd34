"""Two figures of the hang laboratory: how often PCT hits, and what the watch of a running server costs.

    python benchmarks/goals.py [--runs 2000] [--messages 600]

*PCT*: every program of the catalogue that hangs in some schedules and that the explorer can run. The hit rate over
`--runs` runs, with Wilson's 95 % interval, against the bound 1 / (n · k^(d-1)), at each depth from the first one that
hits at all up to the first one whose interval does not lie below the bound. Where the rate is below, the bug is deeper:
the theorem speaks of the bug's own depth, and a search of less depth may hit it by chance.

*Watch*: from the wait that closes a cycle to the record that names it (both lines of defence: the server's watcher on
a real jam over TCP, `harness.lockdep` on asyncio locks); what the watcher costs a section that nobody else wants; and
SMTP messages per second of processor time, watched against not watched, in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import time
from collections.abc import Iterator

from emulator.config import Account, Settings
from emulator.server import Server
from harness import lockdep
from harness.catalogue.entry import Entry, entries
from harness.catalogue.world import ModelWorld
from harness.clients import SmtpClient
from harness.exploration.execution import Actor
from harness.exploration.search import Pct
from harness.lockdep.findings import Finding
from harness.scenario import Scenario
from harness.watcher import Watcher
from harness.wire_bench import Bench
from protocols.actor import Actor as Who
from protocols.actor import current_actor

DEPTH_MAX = 4
STEPS_MAX = 2_000
Z = 1.96
ROUNDS = 12


def wilson(hits: int, runs: int) -> tuple[float, float]:
    """The 95 % interval of a probability that was hit so often."""
    rate = hits / runs
    middle = rate + Z * Z / (2 * runs)
    width = Z * math.sqrt(rate * (1 - rate) / runs + Z * Z / (4 * runs * runs))
    scale = 1 + Z * Z / runs
    return (middle - width) / scale, (middle + width) / scale


def pct_rows(entry: Entry, runs: int) -> Iterator[str]:
    """The lines of one program."""
    build = entry.build
    assert build is not None

    def factory() -> list[Actor]:
        return [Actor(name, coroutine) for name, coroutine in build(ModelWorld(), False)]

    for depth in range(1, DEPTH_MAX + 1):
        pct = Pct(factory, depth, 1, steps_max=STEPS_MAX)
        hits = sum(outcome.kind == "jam" for outcome in pct.runs(runs))
        if not hits:
            continue
        low, high = wilson(hits, runs)
        verdict = "longer than the probes" if pct.overran else "holds" if high >= pct.bound else "deeper than that"
        yield (
            f"{entry.number:3} {entry.title[:44]:44} {depth:2} {pct.actors:2} {pct.steps:3} "
            f"{pct.bound:8.4f} {hits / runs:8.4f} [{low:.4f}, {high:.4f}] {verdict}"
        )
        if verdict == "holds":
            return
    yield f"{entry.number:3} {entry.title[:44]:44} no depth up to {DEPTH_MAX} reaches its bound"


async def closing_on_the_wire(count: int) -> list[float]:
    """Seconds from the closing wait to the watcher's record, over TCP."""
    found: list[float] = []
    async with Bench(Scenario("5.5.2653.23", ("smtp", "pop3"))) as bench, Watcher(bench.server) as watcher:
        turn = iter(range(1_000_000))
        while len(found) < count:
            await bench.run(lambda enabled, _last: enabled[next(turn) % len(enabled)])
            await asyncio.sleep(0)
            found += [jam.seconds_after_closing for jam in watcher.jams]
            watcher.jams.clear()
            watcher._seen.clear()
    return found


async def closing_of_locks(count: int) -> list[float]:
    """Seconds of processor time from the acquire that closes a cycle to the finding that names it."""
    found: list[float] = []

    async def take(one: asyncio.Lock, two: asyncio.Lock, here: list[int]) -> None:
        async with one:
            here.append(1)
            while len(here) < 2:
                await asyncio.sleep(0)
            started = time.process_time()
            try:
                async with two:
                    pass
            except lockdep.DeadlockError:
                found.append(time.process_time() - started)

    for _ in range(count):
        with lockdep.watch(raise_on_jam=True) as watch:
            a, b = asyncio.Lock(), asyncio.Lock()
            here: list[int] = []
            await asyncio.gather(take(a, b, here), take(b, a, here))
            assert [finding.kind for finding in _jams(watch)] == ["jam"]
    return found


def _jams(watch: lockdep.Watch) -> list[Finding]:
    return [finding for finding in watch.findings() if finding.kind == "jam"]


async def section_seconds(watched: bool, count: int = 2_000) -> float:
    """Seconds for entering and leaving a section that nobody else wants."""
    async with Server(Settings(tls=False)) as server:
        current_actor.set(Who("benchmark"))
        section = server.sections["imail"]
        best = math.inf
        watcher = Watcher(server)
        if watched:
            await watcher.__aenter__()
        for _ in range(40):
            started = time.process_time()
            for _ in range(count // 40):
                await section.enter()
                section.leave()
            best = min(best, (time.process_time() - started) / (count // 40))
        if watched:
            await watcher.__aexit__(None, None, None)
        return best


async def smtp_per_second(messages: int) -> tuple[float, float]:
    """Messages per second of processor time: not watched, watched; medians of rounds in turn."""
    text = b"Subject: x\r\n\r\n" + b"A line of text like any other.\r\n" * 20 + b".\r\n"
    rates: tuple[list[float], list[float]] = ([], [])
    async with Server(Settings(tls=False, accounts=(Account("a", "a"),))) as server:
        client = await SmtpClient.connect(server.addresses["smtp"])
        await client.hello()

        async def some() -> None:
            started = time.process_time()
            for _ in range(messages // ROUNDS):
                client.write(b"MAIL FROM:<b@example.com>\r\nRCPT TO:<a@example.com>\r\nDATA\r\n")
                for expected in (250, 250, 354):
                    await client.reply(expected)
                client.write(text)
                await client.reply(250)
            rate.append(messages // ROUNDS / (time.process_time() - started))

        for _ in range(ROUNDS):
            rate = rates[0]
            await some()
            async with Watcher(server):
                rate = rates[1]
                await some()
        client.writer.transport.abort()
    return max(rates[0]), max(rates[1])


def _milliseconds(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return (
        f"{name}: median {statistics.median(ordered) * 1e3:.3f} ms, "
        f"p95 {ordered[int(len(ordered) * 0.95)] * 1e3:.3f} ms, most {ordered[-1] * 1e3:.3f} ms ({len(ordered)} jams)"
    )


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--messages", type=int, default=600)
    arguments = parser.parse_args()
    print(f"PCT, {arguments.runs} runs each: program, depth d, actors n, steps k, bound, hit rate, 95 % interval")
    for entry in entries():
        if entry.verdict == "S" and entry.build is not None:
            print("\n".join(pct_rows(entry, arguments.runs)), flush=True)
    print(_milliseconds("closing wait to record, watcher of a server, TCP", asyncio.run(closing_on_the_wire(200))))
    print(_milliseconds("closing wait to finding, lockdep", asyncio.run(closing_of_locks(200))))
    costs: dict[bool, float] = {}
    for watched in (False, True):
        costs[watched] = min(asyncio.run(section_seconds(watched)) for _ in range(5))
    print(
        f"a section nobody wants, in and out: {costs[False] * 1e6:.2f} us, watched {costs[True] * 1e6:.2f} us "
        f"({(costs[True] - costs[False]) * 1e6:+.2f} us)"
    )
    plain, watched_rate = asyncio.run(smtp_per_second(arguments.messages))
    print(f"SMTP: {plain:,.0f} messages/s, watched {watched_rate:,.0f} ({(plain / watched_rate - 1) * 100:+.1f} %)")


if __name__ == "__main__":
    main()
