"""`mailjam verify --all-builds`: builds × scenarios, what is expected and what is observed.

The deadlock family is explored: all interleavings of its pairs, so that `free` is a proof; the first jam that is found
is shown on real sockets too. The other scenarios are played on real sockets, with real clients.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.builds import DEFAULT_BUILD, KNOWN_BUILDS, find_build
from emulator.defects import LOCK_ORDER, find_defect
from harness import scenarios
from harness.exploration.certificate import Verdict
from harness.exploration.schedule import Schedule
from harness.exploration.search import replay
from harness.explorer import Options, explore_scenario
from harness.replay import replay_on_wire
from harness.report import table
from harness.scenario import ARTICLES
from harness.scenario import Scenario as Program
from harness.scenarios.scenario import Scenario
from harness.scenarios.stage import Stage

JAMS, FREE, UNDECIDED = "jams", "free", "undecided"
CONCURRENT = 4
PATIENCE_FACTOR = 10
"""What hangs against expectation is played again, with so many times the patience."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One scenario on one build."""

    scenario: str
    build: str
    defects: frozenset[str]
    expected: str
    observed: str
    detail: str = ""

    @property
    def right(self) -> bool:
        return self.expected == self.observed

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "scenario": self.scenario,
            "build": self.build,
            "defects": sorted(self.defects),
            "expected": self.expected,
            "observed": self.observed,
            "detail": self.detail,
        }


def all_scenarios() -> dict[str, Scenario]:
    """Every scenario of the Knowledge Base, the deadlock family first."""
    found = {}
    for module in pkgutil.iter_modules(scenarios.__path__):
        if module.name.startswith("q"):
            scenario = importlib.import_module(f"harness.scenarios.{module.name}").SCENARIO
            found[scenario.name] = scenario
    return dict(sorted(found.items(), key=lambda item: (item[0] not in ARTICLES, item[1].defect)))


async def observe(scenario: Scenario, build: str, defects: frozenset[str] = frozenset()) -> Cell:
    """Find out whether a build (with further defects) has the hang of a scenario."""
    level = find_build(build, with_defects=defects)
    expected = JAMS if scenario.defect in level.defects else FREE
    if scenario.defect in LOCK_ORDER:
        observed, detail = await _explore(scenario, level.number, defects)
    else:
        detail = await _play(scenario, level.number, defects, 1)
        if detail and expected == FREE:  # a machine without a processor to spare looks like a hang
            detail = await _play(scenario, level.number, defects, PATIENCE_FACTOR)
        observed = JAMS if detail else FREE
    return Cell(scenario.name, level.number, defects, expected, observed, detail)


async def _play(scenario: Scenario, build: str, defects: frozenset[str], patience_factor: int) -> str:
    module = importlib.import_module(f"harness.scenarios.{scenario.name}")
    async with Stage(build, defects, patience_factor=patience_factor, **scenario.settings) as stage:
        detail: str = await module.provoke(stage)
    return detail


async def _explore(scenario: Scenario, build: str, defects: frozenset[str]) -> tuple[str, str]:
    options = Options(stop_at_jam=True, checks=False)
    for pair in ARTICLES[scenario.name].pairs:
        program = Program(build, pair, defects)
        finding = explore_scenario(program, options)
        if finding.verdict is Verdict.JAM:
            assert finding.minimised is not None
            schedule: Schedule = finding.minimised.schedule
            wire = await replay_on_wire(program, replay(program.program, schedule))
            where = "in memory and on real sockets" if wire.exit_code == 0 else "in memory, but not on real sockets"
            return (JAMS if wire.exit_code == 0 else UNDECIDED), f"{' and '.join(pair)}: {where}; {schedule.token}"
        if finding.verdict is not Verdict.PASS:
            return UNDECIDED, finding.certificate.reason
    return FREE, ""


async def matrix(
    names: Sequence[str], builds: Sequence[str], done: Callable[[int, int], None] = lambda _done, _all: None
) -> list[Cell]:
    """All cells, and for each scenario one with the defect switched on in the last build; `done` of all are there."""
    known = all_scenarios()
    wanted = [
        *((known[name], build, frozenset[str]()) for build in builds for name in names),
        *((known[name], DEFAULT_BUILD, frozenset({known[name].defect})) for name in names),
    ]
    limit = asyncio.Semaphore(CONCURRENT)
    cells: dict[int, Cell] = {}

    async def one(place: int, scenario: Scenario, build: str, defects: frozenset[str]) -> None:
        async with limit:
            cells[place] = await observe(scenario, build, defects)
            done(len(cells), len(wanted))

    places = list(enumerate(wanted))
    for explored in (True, False):  # a search has the loop for itself: nothing on a stage may wait for it meanwhile
        chosen = [(place, *each) for place, each in places if (each[0].defect in LOCK_ORDER) == explored]
        await asyncio.gather(*(one(*each) for each in chosen))
    return [cells[place] for place in range(len(wanted))]


def matrix_lines(cells: Sequence[Cell], names: Sequence[str]) -> list[str]:
    """The table: what is observed, `!` where it is not what the articles say."""
    known = all_scenarios()
    rows: dict[str, dict[str, str]] = {}
    for cell in cells:
        row = f"{DEFAULT_BUILD} --defect" if cell.defects else cell.build
        rows.setdefault(row, {})[cell.scenario] = cell.observed + ("" if cell.right else f" ! ({cell.expected})")
    heads = ("build", *names)
    lines = table([(build, *(row.get(name, "") for name in names)) for build, row in rows.items()], heads)
    lines.append("")
    for name in names:
        scenario = known[name]
        defect = find_defect(scenario.defect)
        assert defect is not None
        lines.append(f"{name}  {defect.name}: {defect.title}")
    wrong = [cell for cell in cells if not cell.right]
    lines.append("")
    lines += [f"NOT AS EXPECTED: {cell.scenario} on {cell.build}: {cell.observed} ({cell.detail})" for cell in wrong]
    lines.append(f"{len(cells) - len(wrong)} of {len(cells)} as the articles say")
    return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mailjam verify` that belong to the matrix."""
    parser.add_argument("--all-builds", action="store_true", help="every known build × every scenario")
    parser.add_argument("--json", action="store_true", help="print JSON (with --all-builds)")


def _tell_progress(done: int, of: int) -> None:
    """Who looks at a terminal sees that it goes on: all takes minutes."""
    if sys.stderr.isatty():
        print(f"\r{done} of {of}", end="\n" if done == of else "", file=sys.stderr, flush=True)


def run(arguments: argparse.Namespace) -> int:
    """0: everything as the articles say; 1: something is not; 3: undecided."""
    known = all_scenarios()
    names = [arguments.scenario] if arguments.scenario else list(known)
    cells = asyncio.run(matrix(names, KNOWN_BUILDS, _tell_progress))
    if arguments.json:
        print(json.dumps([cell.as_dict() for cell in cells], indent=2))
    else:
        print("\n".join(matrix_lines(cells, names)))
    if all(cell.right for cell in cells):
        return 0
    return 3 if any(cell.observed == UNDECIDED for cell in cells) else 1
