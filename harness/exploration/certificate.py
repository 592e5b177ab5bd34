"""What an exploration found: PASS only with a complete search, JAM with a schedule, else INCONCLUSIVE."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from harness.exploration.dpor import SourceDpor
from harness.exploration.execution import Factory, Outcome
from harness.exploration.schedule import Schedule
from harness.exploration.search import Pct, brute_force, random_runs

PARTICIPANTS_MIN = 2
REDUCTION = (
    "source-DPOR with sleep sets: cut short where all that can follow is a reordering of independent operations "
    "(different objects, or reads only) of an execution that was run"
)


class Verdict(Enum):
    """PASS: proved free. JAM: a schedule jams. INCONCLUSIVE: neither. DIVERGED: a schedule did not fit the program."""

    PASS = "PASS"  # noqa: S105 - a verdict
    JAM = "JAM"
    INCONCLUSIVE = "INCONCLUSIVE"
    DIVERGED = "DIVERGED"

    @property
    def exit_code(self) -> int:
        """0 proved free, 1 a jam, 3 neither."""
        return {"PASS": 0, "JAM": 1}.get(self.value, 3)


@dataclass(slots=True)
class Certificate:
    """The result of an exploration, with what is needed to judge how far it goes.

    `executions` complete ones (with `dpor`: one per class of equivalent schedules); `pruned` cut short by the
    reduction; `cut` stopped at the step limit; `operations` and `objects` of the longest one; `seconds` of wall-clock
    time; `bound` the least probability, per run, with which PCT hits a bug of its depth; `overran` the runs that were
    longer than that bound supposes (then there is none).
    """

    strategy: str
    verdict: Verdict = Verdict.INCONCLUSIVE
    reason: str = ""
    exhausted: bool = False
    participants: tuple[str, ...] = ()
    operations: int = 0
    objects: int = 0
    executions: int = 0
    pruned: int = 0
    cut: int = 0
    jams: int = 0
    failures: int = 0
    seconds: float = 0.0
    bound: float | None = None
    overran: int = 0
    first_jam: Outcome | None = None
    first_failure: Outcome | None = None
    label: str = ""
    jam_states: set[Any] = field(default_factory=set)
    end_states: set[Any] = field(default_factory=set)

    @property
    def token(self) -> str | None:
        """The schedule of the first jam (or, without one, of the first failure)."""
        found = self.first_jam or self.first_failure
        return Schedule.of(found, self.label).token if found is not None else None

    @property
    def per_second(self) -> float:
        return (self.executions + self.pruned) / self.seconds if self.seconds else 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one execution in."""
        self.executions += 1
        if len(outcome.order) > self.operations:
            self.operations = len(outcome.order)
            self.objects = max(self.objects, len({op.obj for op in outcome.performed if op.obj is not None}))
        if len(outcome.started) > len(self.participants):
            self.participants = tuple(outcome.names[index] for index in outcome.started)
        state = outcome.end_state
        self.end_states.add(state)
        if outcome.kind == "jam":
            self.jams += 1
            self.jam_states.add(state)
            self.first_jam = self.first_jam or outcome
        elif outcome.kind == "failed":
            self.failures += 1
            self.first_failure = self.first_failure or outcome
        elif outcome.kind == "cut":
            self.cut += 1

    def close(self) -> Certificate:
        """Draw the conclusion."""
        if self.jams:
            self.verdict, self.reason = Verdict.JAM, f"{self.jams} of {self.executions} executions jam"
        elif self.failures:
            assert self.first_failure is not None
            self.reason = f"an actor raised {self.first_failure.error!r}; schedule {self.token}"
        elif len(self.participants) < PARTICIPANTS_MIN:
            self.reason = f"only {len(self.participants)} controlled participant: nothing could have been interleaved"
        elif self.cut:
            self.reason = f"{self.cut} executions were stopped at the step limit"
        elif self.exhausted:
            self.verdict, self.reason = Verdict.PASS, "all interleavings were covered and none jams"
        elif self.bound is not None:
            miss = (1 - self.bound) ** self.executions
            self.reason = (
                f"no jam in {self.executions} runs; each run hits a bug of this depth with a probability of at least "
                f"{self.bound:.3g}, so such a bug was missed with a probability of at most {miss:.3g}"
            )
        else:
            self.reason = f"no jam in {self.executions} executions, but the space was not exhausted"
            if self.overran:
                self.reason += f"; {self.overran} were longer than the probes, so no bound can be stated"
        return self

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "strategy": self.strategy,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "exhausted": self.exhausted,
            "participants": list(self.participants),
            "operations": self.operations,
            "objects": self.objects,
            "executions": self.executions,
            "pruned": self.pruned,
            "pruning": REDUCTION if self.strategy == "dpor" else "none",
            "cut": self.cut,
            "jams": self.jams,
            "jam_states": len(self.jam_states),
            "end_states": len(self.end_states),
            "failures": self.failures,
            "seconds": round(self.seconds, 6),
            "per_second": round(self.per_second, 1),
            "probability_per_run_min": self.bound,
            "token": self.token,
        }

    def text(self) -> str:
        """A readable block, without a newline at its end."""
        what = "classes" if self.strategy == "dpor" else "executions"
        lines = [
            f"{self.verdict.value}: {self.reason}",
            f"  strategy      {self.strategy}, {'exhausted' if self.exhausted else 'not exhausted'}",
            f"  participants  {len(self.participants)}: {', '.join(self.participants)}",
            f"  operations    at most {self.operations} in an execution, on {self.objects} objects",
            f"  {what:<13} {self.executions}, {self.jams} jam ({len(self.jam_states)} different end states)",
            f"  speed         {self.per_second:,.0f}/s, {self.seconds:.3f} s",
        ]
        if self.strategy == "dpor":
            lines.insert(5, f"  pruned        {self.pruned} ({REDUCTION})")
        if self.token:
            lines.append(f"  token         {self.token}")
        return "\n".join(lines)


def explore(
    factory: Factory,
    strategy: str = "dpor",
    *,
    runs: int = 1_000,
    depth: int = 2,
    seed: int = 0,
    executions_max: int = 1_000_000,
    seconds_max: float = 600.0,
    steps_max: int = 10_000,
    stop_at_jam: bool = False,
    label: str = "",
) -> Certificate:
    """Explore a program: `dpor` and `brute` are exhaustive, `pct` and `random` do `runs` seeded executions.

    Stops early at a limit (then INCONCLUSIVE unless a jam was found) or, with `stop_at_jam`, at the first jam.
    Raises ValueError for an unknown strategy, ProgramError for a program that breaks the engine's rules.
    """
    certificate = Certificate(strategy, label=label)
    dpor: SourceDpor | None = None
    pct: Pct | None = None
    outcomes: Iterable[Outcome]
    if strategy == "dpor":
        outcomes = dpor = SourceDpor(factory, steps_max=steps_max)
    elif strategy == "brute":
        outcomes = brute_force(factory, steps_max=steps_max)
    elif strategy == "pct":
        pct = Pct(factory, depth, seed, steps_max=steps_max)
        certificate.bound = pct.bound
        outcomes = pct.runs(runs)
    elif strategy == "random":
        outcomes = random_runs(factory, runs, seed, steps_max=steps_max)
    else:
        raise ValueError(f"unknown strategy {strategy!r}: dpor, brute, pct or random")
    start = time.perf_counter()
    complete = _collect(certificate, iter(outcomes), executions_max, start + seconds_max, stop_at_jam)
    certificate.seconds = time.perf_counter() - start
    if dpor is not None:
        certificate.pruned = dpor.statistics.pruned
    if pct is not None and pct.overran:
        certificate.bound = None  # its condition does not hold
        certificate.overran = pct.overran
    certificate.exhausted = complete and certificate.cut == 0 and strategy in ("dpor", "brute")
    return certificate.close()


def _collect(
    certificate: Certificate, outcomes: Iterator[Outcome], executions_max: int, deadline: float, stop_at_jam: bool
) -> bool:
    """Count outcomes in until there are no more (True) or a limit is reached (False)."""
    for outcome in outcomes:
        certificate.add(outcome)
        if stop_at_jam and certificate.jams:
            return False
        if certificate.executions >= executions_max or time.perf_counter() > deadline:
            return next(outcomes, None) is None
    return True


def check_determinism(factory: Factory, schedule: Schedule) -> bool:
    """Does the same schedule, run twice, do the same operations and end in the same state? False: stray randomness."""
    from harness.exploration.search import replay  # noqa: PLC0415 - only this check needs it

    one, two = replay(factory, schedule), replay(factory, schedule)
    return one.operations == two.operations and one.end_state == two.end_state


def check_soundness(factory: Factory, *, executions_max: int = 100_000) -> bool | None:
    """Do reduced and full search reach the same end states? None: the full search is larger than `executions_max`."""
    full = explore(factory, "brute", executions_max=executions_max)
    if not full.exhausted:
        return None
    return explore(factory, "dpor").end_states == full.end_states
