"""`mailjam explore`: all interleavings of the real store, converter, queues and protocol handlers, without a loop.

Exit code 0: proved free of jams; 1: a jam was found, and its token printed; 3: neither.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from emulator.builds import DEFECTIVE_BUILD, KNOWN_BUILDS, find_build
from harness.arguments import duration, how_many
from harness.exploration.certificate import (
    REDUCTION,
    Certificate,
    Verdict,
    check_determinism,
    check_soundness,
    explore,
)
from harness.exploration.minimise import Minimised, minimise
from harness.exploration.ops import running
from harness.exploration.schedule import Schedule
from harness.exploration.search import run as run_once
from harness.exploration.search import stay
from harness.participants import UnknownParticipant, parse_kinds
from harness.report import print_lines, table
from harness.scenario import ARTICLES, Scenario, UnknownScenario, check_participation, find_article

EXIT_FREE, EXIT_JAM, EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
SOUNDNESS_EXECUTIONS_MAX = 5_000
STRATEGIES = ("dpor", "brute", "pct", "random")


@dataclass(slots=True)
class Finding:
    """What the exploration of one scenario gave, with the checks of the explorer itself (None: not made)."""

    scenario: Scenario
    certificate: Certificate
    deterministic: bool | None = None
    sound: bool | None = None
    minimised: Minimised | None = None

    @property
    def verdict(self) -> Verdict:
        """The certificate's, unless a check of the explorer failed: then nothing is claimed."""
        if self.deterministic is False or self.sound is False:
            return Verdict.INCONCLUSIVE
        return self.certificate.verdict

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        found = {
            "scenario": self.scenario.label,
            **self.certificate.as_dict(),
            "verdict": self.verdict.value,
            "same_schedule_same_trace": self.deterministic,
            "reduced_and_full_search_agree": self.sound,
        }
        if self.minimised is not None:
            found["minimal"] = {
                "token": self.minimised.schedule.token,
                "context_switches": self.minimised.schedule.context_switches,
                "one_minimal": self.minimised.one_minimal,
            }
        return found


@dataclass(frozen=True, slots=True)
class Options:
    """How to search. Limits are per scenario."""

    strategy: str = "dpor"
    runs: int = 1_000
    depth: int = 2
    seed: int = 0
    executions_max: int = 1_000_000
    seconds_max: float = 600.0
    stop_at_jam: bool = False
    checks: bool = True


YOUNG_OBJECTS = 50_000
"""Objects after which the cycle collector looks at the youngest: those of some dozens of executions."""


@contextmanager
def calm_collector() -> Iterator[None]:
    """Let Python's cycle collector look only at what executions leave behind, and not all the time.

    A world is full of cycles, so the collector has to run; what was there before an exploration it need not look at.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 100, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def explore_scenario(scenario: Scenario, options: Options) -> Finding:
    """Explore one scenario, check the explorer on it, and minimise what jams.

    Raises RuntimeError when a participant never enters the conversion stage.
    """
    check_participation(scenario)
    with calm_collector():
        certificate = explore(
            scenario.program,
            options.strategy,
            runs=options.runs,
            depth=options.depth,
            seed=options.seed,
            executions_max=options.executions_max,
            seconds_max=options.seconds_max,
            stop_at_jam=options.stop_at_jam,
            label=scenario.label,
        )
    finding = Finding(scenario, certificate)
    if options.checks:
        sample = certificate.first_jam or run_once(scenario.program, stay)
        finding.deterministic = check_determinism(scenario.program, Schedule.of(sample, scenario.label))
        if options.strategy == "dpor" and certificate.exhausted and len(scenario.kinds) == 2:
            with calm_collector():
                finding.sound = check_soundness(scenario.program, executions_max=SOUNDNESS_EXECUTIONS_MAX)
    if certificate.first_jam is not None:
        finding.minimised = minimise(scenario.program, Schedule.of(certificate.first_jam, scenario.label))
    return finding


def scenarios_of(arguments: argparse.Namespace) -> list[Scenario]:
    """What the command line asks for: the pairs of the article, or the participants that it names.

    Raises UnknownBuild, UnknownScenario, UnknownParticipant.
    """
    article = find_article(arguments.scenario)
    if arguments.build is None:
        having = [number for number in KNOWN_BUILDS if article.defect in find_build(number).defects]
        arguments.build = DEFECTIVE_BUILD if DEFECTIVE_BUILD in having else having[-1]
    defects = frozenset(arguments.defect)
    build = find_build(arguments.build, with_defects=defects)
    if arguments.actors:
        return [Scenario(build.number, parse_kinds(arguments.actors), defects)]
    return [Scenario(build.number, pair, defects) for pair in article.pairs]


@dataclass(slots=True)
class Summary:
    """All findings of one command."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        verdicts = {finding.verdict for finding in self.findings}
        if Verdict.JAM in verdicts:
            return Verdict.JAM
        return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE

    def lines(self, strategy: str) -> list[str]:
        """The table, the totals, and the first jam from start to end."""
        what = "classes" if strategy == "dpor" else "schedules"
        rows = [_row(finding) for finding in self.findings]
        lines = table(rows, ("participants", what, "pruned", "jams", "points", "schedules/s", "checks", "verdict"))
        certificates = [finding.certificate for finding in self.findings]
        executions = sum(c.executions for c in certificates)
        pruned = sum(c.pruned for c in certificates)
        jams = sum(c.jams for c in certificates)
        seconds = sum(c.seconds for c in certificates)
        lines.append(
            f"{executions} {what} run, {pruned} cut short, {jams} jam; {seconds:.2f} s, "
            f"{(executions + pruned) / max(seconds, 1e-9):,.0f} schedules/s"
        )
        if strategy == "dpor":
            lines.append(f"reduction: {REDUCTION}")
        for finding in self.findings:
            if finding.verdict is not Verdict.JAM:
                lines.extend(_doubts(finding))
        jam = next((finding for finding in self.findings if finding.minimised is not None), None)
        lines.extend(_jam_lines(jam) if jam is not None else [])
        lines.append(f"verdict: {self.verdict.value}{_meaning(self.verdict)}")
        return lines


def _meaning(verdict: Verdict) -> str:
    return {
        Verdict.PASS: ": the space is exhausted, no interleaving of these participants jams",
        Verdict.JAM: "",
    }.get(verdict, ": neither proved free nor jammed")


def _row(finding: Finding) -> Sequence[Any]:
    certificate = finding.certificate
    checks = {True: "ok", False: "FAILED", None: "-"}
    return (
        ",".join(finding.scenario.kinds),
        certificate.executions,
        certificate.pruned,
        certificate.jams,
        certificate.operations,
        f"{certificate.per_second:,.0f}",
        f"{checks[finding.deterministic]}/{checks[finding.sound]}",
        finding.verdict.value,
    )


def _doubts(finding: Finding) -> list[str]:
    if finding.deterministic is False:
        return [
            f"{finding.scenario.label}: the same schedule gave two traces: something outside of the schedule decides"
        ]
    if finding.sound is False:
        return [f"{finding.scenario.label}: reduced and full search reach different end states"]
    return [] if finding.verdict is Verdict.PASS else [f"{finding.scenario.label}: {finding.certificate.reason}"]


def _jam_lines(finding: Finding) -> list[str]:
    minimised = finding.minimised
    assert minimised is not None
    schedule = minimised.schedule
    minimal = "every single removal was tried" if minimised.one_minimal else "the time for trying removals was up"
    least = ", and no schedule with fewer switches jams" if minimised.least_switches else ""
    return [
        "",
        f"jam of {' and '.join(finding.scenario.kinds)}, context switches: {schedule.context_switches} "
        f"({minimal}{least})",
        *(f"  {line}" for line in minimised.table().splitlines()),
        f"token: {schedule.token}",
        f"again: mailjam replay {schedule.token} --wire",
        "",
    ]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mailjam explore`."""
    parser = subparsers.add_parser("explore", help="run all interleavings of a scenario: a proof or a counter-example")
    add = parser.add_argument
    add("scenario", metavar="SCENARIO", help=f"a deadlock of the family: {', '.join(ARTICLES)}")
    add("--build", help=f"(default: {DEFECTIVE_BUILD}, or the newest build that has this deadlock)")
    add("--defect", action="append", default=[], metavar="NAME", help="switch a named defect on")
    add("--actors", metavar="LIST", help="participants, as in smtp=2,pop3,fetch (default: each pair of the scenario)")
    add("--strategy", choices=STRATEGIES, default="dpor", help="dpor and brute are exhaustive (default: %(default)s)")
    add("--depth", type=how_many, default=2, help="ordering constraints for pct (default: %(default)s)")
    add("--runs", type=how_many, default=1_000, help="executions of pct and random (default: %(default)s)")
    add("--seed", type=int, default=0, help="of pct and random (default: %(default)s)")
    add("--schedules-max", type=how_many, default=1_000_000, help="executions per scenario (default: %(default)s)")
    add("--seconds-max", type=duration, default=600.0, help="per scenario (default: %(default)s)")
    add("--first", action="store_true", help="stop a scenario at its first jam")
    add("--no-checks", action="store_true", help="do not check the explorer itself")
    add("--wire", action="store_true", help="on real sockets through gates instead of in memory")
    add("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; see the module for the exit codes."""
    try:
        scenarios = scenarios_of(arguments)
    except (UnknownScenario, UnknownParticipant) as error:
        print(f"mailjam: {error}", file=sys.stderr)
        return EXIT_USAGE
    options = Options(
        arguments.strategy,
        arguments.runs,
        arguments.depth,
        arguments.seed,
        arguments.schedules_max,
        arguments.seconds_max,
        arguments.first,
        not arguments.no_checks,
    )
    if arguments.wire:
        from harness import wire_explorer  # noqa: PLC0415 - starts servers; the explorer in memory needs none

        return wire_explorer.explore_command(scenarios, options, as_json=arguments.json)
    findings: list[Finding] = []
    try:
        findings.extend(explore_scenario(scenario, options) for scenario in scenarios)
    except KeyboardInterrupt:
        with suppress(RuntimeError):  # there may be none
            running().close()
        jams = [one.minimised.schedule.token for one in findings if one.minimised is not None]
        found = f", a jam among them: {jams[0]}" if jams else ""
        print(f"mailjam: interrupted after {len(findings)} of {len(scenarios)} scenarios{found}", file=sys.stderr)
        return EXIT_INTERRUPTED
    summary = Summary(findings)
    if arguments.json:
        print(json.dumps([finding.as_dict() for finding in summary.findings], indent=2))
    else:
        build = find_build(arguments.build)
        print(f"{arguments.scenario}: build {build.number} ({build.service_pack}), {arguments.strategy}, in memory")
        print_lines(summary.lines(arguments.strategy))
    return summary.verdict.exit_code
