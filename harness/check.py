"""`mailjam check DIR [--repair]`: verify a data directory, and put right what is wrong.

Exit code 0: every invariant holds (after the repair, if one was asked for); 1: something is wrong; 2: it cannot be
looked at.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from emulator.config import SettingsError
from emulator.durable.check import Report, check_directory
from emulator.durable.repair import repair_directory

PROBLEMS_SHOWN_MAX = 100


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check", help="verify a data directory", description="Verify every invariant of what `serve --data DIR` keeps."
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="the directory; no server may be using it")
    parser.add_argument("--repair", action="store_true", help="put right what is wrong; what is left over: lost+found")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do it and print what was found."""
    try:
        report = repair_directory(args.directory) if args.repair else check_directory(args.directory)
    except SettingsError as error:
        print(f"mailjam check: {error}", file=sys.stderr)
        return 2
    for line in describe(report):
        print(line)
    return 0 if report.clean else 1


def describe(report: Report) -> list[str]:
    """The report in lines."""
    lines = [f"{count:>12,} {name}" for name, count in report.counts.items()]
    lines.extend(f"repaired: {text}" for text in report.repaired)
    lines.extend(f"problem: {problem.text}" for problem in report.problems[:PROBLEMS_SHOWN_MAX])
    if len(report.problems) > PROBLEMS_SHOWN_MAX:
        lines.append(f"… and {len(report.problems) - PROBLEMS_SHOWN_MAX} problems more")
    if report.clean:
        lines.append(f"{report.directory}: clean")
    else:
        lines.append(f"{report.directory}: {len(report.problems)} problems; mailjam check --repair puts them right")
    return lines
