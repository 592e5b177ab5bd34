"""`mailjam reproduce`, `verify` and `demo`: the seed scenario on real sockets, once or a thousand times."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from itertools import cycle, islice, product

from emulator.builds import DEFECTIVE_BUILD, PATCHED_BUILD, find_build

from . import matrix
from .arguments import how_many
from .matrix import all_scenarios
from .report import outcome_json, outcome_lines, print_lines, table
from .reproduce import INBOUND, OUTBOUND, Outcome, run_once
from .scenarios.q279798 import SCENARIO

EXIT_SHOWN, EXIT_NOT_SHOWN, EXIT_INCONCLUSIVE = 0, 1, 3


class Display:
    """A progress display: one line that is overwritten on a terminal, plain lines elsewhere."""

    def __init__(self, total: int, what: str) -> None:
        self._total = total
        self._what = what
        self._terminal = sys.stderr.isatty()
        self._shown_at = 0.0

    def show(self, done: int, counts: Counter[str]) -> None:
        """Show how far it is; at most ten times a second."""
        now = time.monotonic()
        if not self._terminal or (now - self._shown_at < 0.1 and done < self._total):
            return
        self._shown_at = now
        filled = 30 * done // max(1, self._total)
        told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        print(
            f"\r{self._what} [{'#' * filled}{'.' * (30 - filled)}] {done}/{self._total} {told}", end="", file=sys.stderr
        )
        if done == self._total:
            print(file=sys.stderr)


def say(text: str) -> None:
    """One step of what is going on."""
    print(f"  · {text}", flush=True)


async def _repeat(build: str, pairs: list[tuple[str, str]], count: int, what: str) -> list[Outcome]:
    display, counts, outcomes = Display(count, what), Counter[str](), list[Outcome]()
    for number, (inbound, outbound) in enumerate(islice(cycle(pairs), count), 1):
        outcome = await run_once(build, inbound, outbound)
        outcomes.append(outcome)
        counts[outcome.verdict] += 1
        display.show(number, counts)
    return outcomes


def reproduce_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mailjam reproduce`."""
    parser = subparsers.add_parser("reproduce", help="jam a build on real sockets and show why")
    parser.add_argument("scenario", choices=[SCENARIO.name])
    parser.add_argument("--build", default=DEFECTIVE_BUILD, help="(default: %(default)s)")
    parser.add_argument("--inbound", choices=[*INBOUND, "all"], default="smtp", help="(default: %(default)s)")
    parser.add_argument("--outbound", choices=[*OUTBOUND, "all"], default="pop3", help="(default: %(default)s)")
    parser.add_argument("--repeat", type=how_many, default=1, help="how many runs, each on a server of its own")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=reproduce)


def verify_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mailjam verify`."""
    parser = subparsers.add_parser("verify", help="show that the defective build jams and the patched one does not")
    parser.add_argument(
        "scenario", nargs="?", choices=list(all_scenarios()), help=f"(default: {SCENARIO.name}; all with --all-builds)"
    )
    parser.add_argument("--build", default=PATCHED_BUILD, help="the build that must not jam (default: %(default)s)")
    parser.add_argument("--defective-build", default=DEFECTIVE_BUILD, help="(default: %(default)s)")
    parser.add_argument("--repeat", type=how_many, default=12, help="runs of each build (default: each pair once)")
    matrix.add_arguments(parser)
    parser.set_defaults(run=verify)


def demo_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mailjam demo`."""
    parser = subparsers.add_parser("demo", help="the whole story in half a minute: jam, reason, symptoms, patch")
    parser.set_defaults(run=demo)


def _pairs(inbound: str, outbound: str) -> list[tuple[str, str]]:
    return list(product(INBOUND if inbound == "all" else (inbound,), OUTBOUND if outbound == "all" else (outbound,)))


def reproduce(arguments: argparse.Namespace) -> int:
    """0: every run jammed; 1: some ended; 3: some were inconclusive."""
    build = find_build(arguments.build)
    pairs = _pairs(arguments.inbound, arguments.outbound)
    repeat = max(arguments.repeat, len(pairs))
    if repeat == 1:
        outcome = asyncio.run(
            run_once(
                build.number,
                *pairs[0],
                look_closer=True,
                progress=(lambda text: None) if arguments.json else say,
            )
        )
        if arguments.json:
            print(json.dumps(outcome_json(outcome), indent=2))
        else:
            print_lines(outcome_lines(outcome))
        outcomes = [outcome]
    else:
        started = time.monotonic()
        outcomes = asyncio.run(_repeat(build.number, pairs, repeat, build.number))
        if arguments.json:
            print(json.dumps([outcome_json(outcome) for outcome in outcomes], indent=2))
        else:
            print_lines(_summary(outcomes))
            print(f"{_jammed(outcomes)} of {len(outcomes)} runs jammed in {time.monotonic() - started:.1f} s")
    return _exit_code(outcomes, "jammed")


def _jammed(outcomes: list[Outcome]) -> int:
    return sum(outcome.verdict == "jammed" for outcome in outcomes)


def _exit_code(outcomes: list[Outcome], wanted: str) -> int:
    verdicts = {outcome.verdict for outcome in outcomes}
    if verdicts == {wanted}:
        return EXIT_SHOWN
    return EXIT_INCONCLUSIVE if "inconclusive" in verdicts else EXIT_NOT_SHOWN


def _summary(outcomes: list[Outcome]) -> list[str]:
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for outcome in outcomes:
        counts.setdefault((outcome.build, outcome.inbound, outcome.outbound), Counter())[outcome.verdict] += 1
    rows = [(*key, count["jammed"], count["delivered"], count["inconclusive"]) for key, count in counts.items()]
    return table(rows, ("build", "inbound", "outbound", "jammed", "delivered", "inconclusive"))


def verify(arguments: argparse.Namespace) -> int:
    """0: all runs of the defective build jammed and none of the other did."""
    if arguments.all_builds or arguments.scenario not in (None, SCENARIO.name):
        return matrix.run(arguments)
    defective, patched = find_build(arguments.defective_build), find_build(arguments.build)
    pairs = _pairs("all", "all")
    bad = asyncio.run(_repeat(defective.number, pairs, arguments.repeat, defective.number))
    good = asyncio.run(_repeat(patched.number, pairs, arguments.repeat, patched.number))
    print_lines(_summary(bad + good))
    print(f"{defective.number}: {_jammed(bad)} of {len(bad)} jammed")
    print(f"{patched.number}: {_jammed(good)} of {len(good)} jammed")
    return max(_exit_code(bad, "jammed"), _exit_code(good, "delivered"))


def demo(arguments: argparse.Namespace) -> int:
    """0 only if the jam and the patch were both observed."""
    print(f"{SCENARIO.kb}: {SCENARIO.title}\n")
    print(f"1. Build {DEFECTIVE_BUILD} (5.5 SP4), real sockets:")
    bad = asyncio.run(run_once(DEFECTIVE_BUILD, "smtp", "imap", look_closer=True, progress=say))
    print_lines(outcome_lines(bad))
    print(f"\n2. All pairs of ways in and ways out, build {DEFECTIVE_BUILD}:")
    pairs = _pairs("all", "all")
    bad_pairs = asyncio.run(_repeat(DEFECTIVE_BUILD, pairs, len(pairs), DEFECTIVE_BUILD))
    print_lines(_summary(bad_pairs))
    print(f"\n3. The same schedule, build {PATCHED_BUILD} (the fix of {SCENARIO.kb}):")
    good = asyncio.run(run_once(PATCHED_BUILD, "smtp", "imap", look_closer=True, progress=say))
    print_lines(outcome_lines(good))
    good_pairs = asyncio.run(_repeat(PATCHED_BUILD, pairs, len(pairs), PATCHED_BUILD))
    print_lines(_summary(good_pairs))
    shown = [
        (bad.jam is not None, "the defective build jammed"),
        (bad.queues_after.get("Queued Inbound", 0) > bad.queues_before.get("Queued Inbound", 0), "its queue grew"),
        ([probe.protocol for probe in bad.probes if probe.hung_at] == ["pop3", "imap", "nntp"], "its readers hung"),
        (bad.stop_ended is False, "its stop did not end"),
        (_jammed(bad_pairs) == len(bad_pairs), "all twelve pairs jammed"),
        (good.finished and good.jam is None, "the patched build did not jam"),
        (not good.queues_after.get("Queued Inbound", 1), "everything was delivered"),
        (not any(probe.hung_at for probe in good.probes), "every probe was answered"),
        (good.stop_ended is True, "its stop ended"),
        (_jammed(good_pairs) == 0 and all(o.finished for o in good_pairs), "no pair jammed"),
    ]
    print()
    for observed, what in shown:
        print(f"  {'yes' if observed else 'NO '}  {what}")
    return EXIT_SHOWN if all(observed for observed, _ in shown) else EXIT_NOT_SHOWN
