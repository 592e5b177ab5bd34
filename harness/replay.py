"""`mailjam replay TOKEN [--wire]`: one schedule again, in the explorer or on real sockets, once or a thousand times.

Exit code 0: each replay went as the token says; 1: one did not (DIVERGED, or another ending); 3: inconclusive.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from emulator.builds import find_build
from harness.arguments import how_many
from harness.exploration.certificate import PARTICIPANTS_MIN
from harness.exploration.execution import DivergedError, Outcome
from harness.exploration.minimise import minimise, table
from harness.exploration.schedule import Schedule, TokenError
from harness.exploration.search import replay, run_order
from harness.participants import UnknownParticipant
from harness.scenario import Scenario, UnknownScenario
from harness.wire import DIVERGED, DONE, INCONCLUSIVE, JAM, WireOutcome
from harness.wire_bench import Bench

EXIT_SAME, EXIT_OTHER, EXIT_USAGE, EXIT_INCONCLUSIVE = 0, 1, 2, 3


@dataclass(slots=True)
class WireReplay:
    """What a number of replays on real sockets gave."""

    expected: str
    """How the schedule ends in the explorer: `jam` or `done`."""
    counts: Counter[str] = field(default_factory=Counter)
    """Replays by ending; a `jam` or `done` with another tape counts as `diverged`."""
    seconds: float = 0.0
    last: WireOutcome | None = None
    details: list[str] = field(default_factory=list)

    @property
    def repeats(self) -> int:
        return sum(self.counts.values())

    @property
    def exit_code(self) -> int:
        """0: all as expected."""
        if set(self.counts) == {self.expected}:
            return EXIT_SAME
        return EXIT_INCONCLUSIVE if set(self.counts) <= {self.expected, INCONCLUSIVE} else EXIT_OTHER


async def replay_on_wire(scenario: Scenario, outcome: Outcome, repeat: int = 1) -> WireReplay:
    """Follow the schedule of an execution in memory on real sockets, `repeat` times on one server.

    Each replay has to reach the same points in the same order and the same ending.
    """
    tape = [(outcome.started.index(actor), str(op)) for actor, op in zip(outcome.order, outcome.performed, strict=True)]
    result = WireReplay(outcome.kind)
    started = time.perf_counter()
    async with Bench(scenario) as bench:
        for _ in range(repeat):
            wire = await bench.follow(tape)
            kind = wire.kind
            if kind in (JAM, DONE) and (kind != outcome.kind or wire.tape != tape):
                kind = DIVERGED
                result.details.append(f"it ends as {wire.kind} after {len(wire.tape)} of {len(tape)} steps")
            elif kind != outcome.kind:
                result.details.append(wire.detail)
            if len(scenario.kinds) < PARTICIPANTS_MIN and kind == DONE:
                kind = INCONCLUSIVE
                result.details.append("fewer than two participants: nothing could have been interleaved")
            result.counts[kind] += 1
            result.last = wire
    result.seconds = time.perf_counter() - started
    return result


async def replay_other_build(scenario: Scenario, schedule: Schedule, repeat: int) -> Counter[str]:
    """Follow the order of a schedule on another build, whose points are others: how it ends, by count."""
    counts: Counter[str] = Counter()
    async with Bench(scenario) as bench:
        for _ in range(repeat):
            counts[(await bench.follow_order(schedule.order)).kind] += 1
    return counts


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mailjam replay`."""
    parser = subparsers.add_parser("replay", help="run one schedule again, in the explorer or on real sockets")
    add = parser.add_argument
    add("token", metavar="TOKEN", help="as `mailjam explore` prints it")
    add("--wire", action="store_true", help="on real sockets, through gates")
    add("--repeat", type=how_many, default=1, metavar="N", help="how often (default: %(default)s)")
    add("--build", metavar="BUILD", help="follow the schedule on another build, as far as that one goes along")
    add("--minimise", action="store_true", help="look for the shortest schedule that still jams")
    add("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; see the module for the exit codes."""
    try:
        schedule = Schedule.parse(arguments.token)
        scenario = Scenario.parse(schedule.label)
    except (TokenError, UnknownScenario) as error:
        print(f"mailjam: {error}", file=sys.stderr)
        return EXIT_USAGE
    if arguments.build:
        return _other_build(arguments, schedule, scenario)
    try:
        outcome = replay(scenario.program, schedule)
    except DivergedError as error:
        print(f"DIVERGED: {error}")
        return EXIT_OTHER
    found: dict[str, Any] = {"scenario": scenario.label, "ending": outcome.kind, "steps": len(outcome.order)}
    lines = [f"{scenario.label}: {outcome.kind} after {len(outcome.order)} steps", table(outcome)]
    if arguments.minimise and outcome.kind == "jam":
        shortest = minimise(scenario.program, schedule)
        found["minimal"] = shortest.schedule.token
        lines += [f"shortest: {shortest.schedule.context_switches} context switches", shortest.table()]
        lines += [f"token: {shortest.schedule.token}"]
    code = EXIT_SAME
    if arguments.repeat > 1 and not arguments.wire:
        again = [replay(scenario.program, schedule) for _ in range(arguments.repeat)]
        found["same"] = sum(one.order == outcome.order and one.kind == outcome.kind for one in again)
        lines.append(f"in memory: {found['same']} of {arguments.repeat} the same, step by step")
        code = EXIT_SAME if found["same"] == arguments.repeat else EXIT_OTHER
    if arguments.wire:
        try:
            result = asyncio.run(replay_on_wire(scenario, outcome, arguments.repeat))
        except UnknownParticipant as error:
            print(f"mailjam: {error}", file=sys.stderr)
            return EXIT_USAGE
        code = result.exit_code
        found["wire"] = {"counts": dict(result.counts), "seconds": result.seconds, "details": result.details[:10]}
        lines += wire_lines(result)
    print(json.dumps(found, indent=2) if arguments.json else "\n".join(lines))
    return code


def wire_lines(result: WireReplay) -> list[str]:
    """How the replays on real sockets went."""
    same = result.counts[result.expected]
    speed = result.repeats / max(result.seconds, 1e-9)
    lines = [f"on real sockets: {same} of {result.repeats} as in the explorer ({result.expected}), {speed:,.0f}/s"]
    if result.last is not None:
        lines += [f"  {edge}" for edge in result.last.cycle]
    lines += [f"  {detail}" for detail in result.details[:5]]
    return lines


def _other_build(arguments: argparse.Namespace, schedule: Schedule, scenario: Scenario) -> int:
    build = find_build(arguments.build)
    other = Scenario(build.number, scenario.kinds)
    runs = Schedule(schedule.order).runs
    outcome = run_order(other.program, runs)
    lines = [f"{other.label}: {outcome.kind} after {len(outcome.order)} steps", table(outcome)]
    endings = Counter({outcome.kind: 1})
    if arguments.wire:
        endings = asyncio.run(replay_other_build(other, schedule, arguments.repeat))
        lines.append("on real sockets: " + ", ".join(f"{count} {kind}" for kind, count in endings.items()))
    print(json.dumps({"scenario": other.label, "endings": dict(endings)}) if arguments.json else "\n".join(lines))
    return EXIT_INCONCLUSIVE if set(endings) - {JAM, DONE} else EXIT_SAME
