"""`mailjam explore --wire`: the interleavings on real sockets.

`dpor`: one execution of each class of equivalent schedules is run over TCP, and has to reach the same points, the same
ending and (for a jam) a real cycle of sections; so a PASS covers all interleavings of these participants and points.
`random`: seeded choices on the wire itself. Fewer than two participants never pass.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.exploration.certificate import PARTICIPANTS_MIN, Verdict
from harness.exploration.dpor import SourceDpor
from harness.exploration.execution import Outcome
from harness.exploration.schedule import Schedule
from harness.exploration.search import Pct, random_runs
from harness.participants import UnknownParticipant
from harness.report import table
from harness.scenario import Scenario, check_participation
from harness.wire import DIVERGED, DONE, INCONCLUSIVE, JAM
from harness.wire_bench import Bench

if TYPE_CHECKING:
    from harness.explorer import Options


@dataclass(slots=True)
class WireFinding:
    """What the exploration of one scenario on real sockets gave."""

    scenario: Scenario
    counts: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    exhausted: bool = False
    pruned: int = 0
    seconds: float = 0.0
    token: str | None = None
    problem: str = ""
    cycle: tuple[str, ...] = ()

    @property
    def runs(self) -> int:
        return sum(self.counts.values())

    @property
    def verdict(self) -> Verdict:
        """JAM and PASS only when every schedule went as in memory."""
        if self.counts[DIVERGED]:
            return Verdict.DIVERGED
        if self.counts[JAM]:
            return Verdict.JAM
        complete = self.exhausted and not self.counts[INCONCLUSIVE]
        return Verdict.PASS if complete and len(self.scenario.kinds) >= PARTICIPANTS_MIN else Verdict.INCONCLUSIVE

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "scenario": self.scenario.label,
            "verdict": self.verdict.value,
            "participants": list(self.scenario.names),
            "schedules": self.runs,
            "endings": dict(self.counts),
            "exhausted": self.exhausted,
            "pruned": self.pruned,
            "operations": self.operations,
            "seconds": round(self.seconds, 6),
            "token": self.token,
            "problem": self.problem,
            "cycle": list(self.cycle),
        }


async def explore_on_wire(scenario: Scenario, options: Options) -> WireFinding:
    """Explore one scenario on real sockets. Raises UnknownParticipant for participants that have no client."""
    check_participation(scenario)
    finding = WireFinding(scenario)
    program = scenario.program
    dpor: SourceDpor | None = None
    if options.strategy == "dpor":
        outcomes = iter(dpor := SourceDpor(program))
    elif options.strategy == "pct":
        outcomes = Pct(program, options.depth, options.seed).runs(options.runs)
    else:
        outcomes = random_runs(program, options.runs, options.seed)
    started = time.perf_counter()
    async with Bench(scenario) as bench:
        for outcome in outcomes:
            await _run_one(bench, finding, outcome)
            over = finding.runs >= options.executions_max or time.perf_counter() - started > options.seconds_max
            if over or finding.counts[DIVERGED] or (options.stop_at_jam and finding.counts[JAM]):
                break
    finding.seconds = time.perf_counter() - started
    if dpor is not None:
        finding.exhausted, finding.pruned = dpor.exhausted, dpor.statistics.pruned
    return finding


async def explore_freely(scenario: Scenario, runs: int, seed: int) -> WireFinding:
    """Seeded random choices made on the wire itself; each tape has to be possible in memory, with the same ending."""
    generator = random.Random(seed)  # noqa: S311 - a repeatable choice, not a secret
    finding = WireFinding(scenario)
    started = time.perf_counter()
    async with Bench(scenario) as bench:
        for _ in range(runs):
            wire = await bench.run(lambda enabled, last: generator.choice(enabled))
            finding.counts[wire.kind] += 1
            finding.operations = max(finding.operations, len(wire.tape))
            if wire.kind == JAM and finding.token is None:
                order = tuple(index for index, _ in wire.tape)
                finding.token, finding.cycle = Schedule(order, scenario.label).token, wire.cycle
    finding.seconds = time.perf_counter() - started
    return finding


async def _run_one(bench: Bench, finding: WireFinding, outcome: Outcome) -> None:
    tape = [(outcome.started.index(actor), str(op)) for actor, op in zip(outcome.order, outcome.performed, strict=True)]
    wire = await bench.follow(tape)
    kind = wire.kind
    finding.operations = max(finding.operations, len(tape))
    if kind in (JAM, DONE) and (kind != outcome.kind or wire.tape != tape):
        kind = DIVERGED
        finding.problem = f"memory ends as {outcome.kind}, the wire as {wire.kind}"
    elif kind in (DIVERGED, INCONCLUSIVE):
        finding.problem = wire.detail
    finding.counts[kind] += 1
    if kind == JAM and finding.token is None:
        finding.token = Schedule.of(outcome, finding.scenario.label).token
        finding.cycle = wire.cycle


def explore_command(scenarios: Sequence[Scenario], options: Options, *, as_json: bool) -> int:
    """`mailjam explore --wire`: 0 proved free, 1 a jam, 2 no such participant, 3 neither."""
    try:
        findings = [asyncio.run(explore_on_wire(scenario, options)) for scenario in scenarios]
    except UnknownParticipant as error:
        print(f"mailjam: {error}", file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        print("\n".join(_lines(findings)))
    verdicts = {finding.verdict for finding in findings}
    if Verdict.JAM in verdicts and Verdict.DIVERGED not in verdicts:
        return Verdict.JAM.exit_code
    return Verdict.PASS.exit_code if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE.exit_code


def _lines(findings: Sequence[WireFinding]) -> list[str]:
    heads = ("participants", "schedules", "pruned", "jams", "done", "other", "points", "schedules/s", "verdict")
    rows = [
        (
            ",".join(finding.scenario.kinds),
            finding.runs,
            finding.pruned,
            finding.counts[JAM],
            finding.counts[DONE],
            finding.runs - finding.counts[JAM] - finding.counts[DONE],
            finding.operations,
            f"{finding.runs / max(finding.seconds, 1e-9):,.0f}",
            finding.verdict.value,
        )
        for finding in findings
    ]
    lines = ["on real sockets, every schedule as in memory:", *table(rows, heads)]
    lines += [f"{finding.scenario.label}: {finding.problem}" for finding in findings if finding.problem]
    jam = next((finding for finding in findings if finding.token), None)
    if jam is not None:
        lines += [f"{jam.scenario.label}:", *(f"  {edge}" for edge in jam.cycle), f"token: {jam.token}"]
    return lines
