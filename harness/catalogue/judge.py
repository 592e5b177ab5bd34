"""Asks mailjam's detectors about the programs of the catalogue.

    python -m harness.catalogue.judge [--write docs/CATALOGUE.md]

prints the table of all 72 verdicts; exit code 0 when every one is right.

W  wait-for graph: runs on asyncio with random pauses until a circle of waits, or a loop of which no task can go on
L  lock order: the orders that runs which did not jam showed to be feasible
X  explorer: all interleavings (up to equivalence) under the explorer's objects
T  time limit: runs on asyncio that do not end within SECONDS_MAX
A program that may block its thread runs in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness import lockdep
from harness.catalogue.entry import Entry, entries
from harness.catalogue.world import AsyncioWorld, ModelWorld
from harness.exploration import Actor, Certificate, Verdict, explore

SECONDS_MAX: Final = 0.4
PLAIN_SECONDS_MAX: Final = 3.0  # with sockets and timers
PROCESS_SECONDS_MAX: Final = 8.0
PATIENCE_SECONDS: Final = 50.0  # for a run that has to end by itself, on however slow a machine
RUNS: Final = 40
BLOCKING: Final = frozenset({19, 20, 21})  # these can stop their thread, and with it whoever judges them
EXECUTIONS_MAX: Final = 20_000
HANGS: Final = 1
JAM: Final = 3


@dataclass(slots=True)
class Judgement:
    """What each detector said: True a hang, False none, None not applicable."""

    entry: Entry
    fixed: bool
    W: bool | None = None
    L: bool | None = None
    X: bool | None = None
    T: bool | None = None
    latent: bool = False
    certificate: Certificate | None = None

    @property
    def expected(self) -> bool:
        """Does this program hang in some schedule, on this Python?"""
        if self.fixed or self.entry.verdict == "N":
            return False
        return self.entry.number != 27 or sys.version_info >= (3, 12, 1)

    @property
    def says(self) -> bool:
        """The verdict of all detectors together."""
        return any((self.W, self.L, self.X, self.T))

    @property
    def right(self) -> bool:
        return self.says == self.expected


async def _run(entry: Entry, fixed: bool, seed: int) -> None:
    """The program once, on asyncio."""
    if entry.plain is not None:
        try:
            await entry.plain(fixed)
        finally:  # a program that hung has not closed its connections
            for transport in list(getattr(asyncio.get_running_loop(), "_transports", {}).values()):
                transport.abort()
            await asyncio.sleep(0)
        return
    assert entry.build is not None
    loop = asyncio.get_running_loop()
    actors = entry.build(AsyncioWorld(seed), fixed)
    tasks = [loop.create_task(coroutine, name=name) for name, coroutine in actors]
    await asyncio.gather(*tasks)


def _quietly(coroutine: Coroutine[Any, Any, None], seconds: float | None) -> bool:
    """Run it; True when it did not end within the time."""

    async def limited() -> None:
        await asyncio.wait_for(coroutine, seconds)

    try:
        asyncio.run(coroutine if seconds is None else limited())
    except TimeoutError:
        return True
    except (lockdep.DeadlockError, asyncio.CancelledError):
        pass
    except ExceptionGroup:
        pass
    return False


def hangs(entry: Entry, fixed: bool) -> bool:
    """T: does a run not end within the time limit?"""
    if entry.number in BLOCKING:
        return _in_process(entry, fixed, watched=False) == HANGS
    count = 1 if entry.plain is not None else RUNS
    limit = SECONDS_MAX if entry.plain is None else PLAIN_SECONDS_MAX
    if fixed or entry.verdict == "N":
        limit = PATIENCE_SECONDS
    return any(_quietly(_run(entry, fixed, seed), limit) for seed in range(count))


def watched(entry: Entry, fixed: bool) -> tuple[bool, bool, bool]:
    """W, L and whether there was a latent order. Orders are taken from runs that did not jam."""
    if entry.number in BLOCKING:
        return _in_process(entry, fixed, watched=True) == JAM, False, False
    jam = order = latent = False
    for seed in range(1 if entry.plain is not None else RUNS):
        with lockdep.watch(raise_on_jam=True, closed=True) as watch:
            # a limit would be a timer, and a loop with a timer is not cut off: so none where standing still is told
            limit = SECONDS_MAX if entry.plain is not None and entry.number not in (28,) else None
            _quietly(_run(entry, fixed, seed), limit)
        findings = watch.findings()
        if any(finding.kind in ("jam", "leak") and finding.fails for finding in findings):
            jam = True
            continue
        order = order or any(finding.kind == "order" and finding.fails for finding in findings)
        latent = latent or any(finding.verdict == "latent" for finding in findings)
    return jam, order, latent


def explored(entry: Entry, fixed: bool) -> Certificate:
    """X: the certificate of the explorer."""
    build = entry.build
    assert build is not None

    def factory() -> list[Actor]:
        return [Actor(name, coroutine) for name, coroutine in build(ModelWorld(), fixed)]

    return explore(factory, executions_max=EXECUTIONS_MAX, seconds_max=60, stop_at_jam=True)


def judge(entry: Entry, fixed: bool) -> Judgement:
    """All detectors on one program."""
    judgement = Judgement(entry, fixed)
    if entry.build is not None:
        judgement.certificate = explored(entry, fixed)
        judgement.X = judgement.certificate.verdict is Verdict.JAM
    judgement.W, judgement.L, judgement.latent = watched(entry, fixed)
    judgement.T = hangs(entry, fixed)
    return judgement


def _in_process(entry: Entry, fixed: bool, *, watched: bool) -> int:
    """0 ended, HANGS, or JAM when the watch reported one."""
    command = [sys.executable, "-m", "harness.catalogue.judge", "--run", str(entry.number)]
    command += (["--fixed"] if fixed else []) + (["--watched"] if watched else [])
    root = str(Path(__file__).parents[2])
    seconds = PATIENCE_SECONDS if fixed or watched else PROCESS_SECONDS_MAX  # else it is to hang
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command, env=environment, timeout=seconds, check=False, capture_output=True
        )
    except subprocess.TimeoutExpired:
        return HANGS
    return done.returncode


def _run_one(entry: Entry, fixed: bool, *, watched: bool) -> int:
    if not watched:
        return HANGS if _quietly(_run(entry, fixed, 0), None) else 0
    found: list[lockdep.Finding] = []

    with lockdep.watch(raise_on_jam=True, closed=True) as watch:
        watch.recorder.on_jam = lambda finding: _leave(finding, found)
        _quietly(_run(entry, fixed, 0), None)
    return JAM if any(finding.kind == "jam" for finding in watch.findings()) else 0


def _leave(finding: lockdep.Finding, _found: list[lockdep.Finding]) -> None:
    """A thread that waits for ever cannot be ended by an exception in another one: leave the process."""
    print(finding.text(), flush=True)
    os._exit(JAM)


HEAD: Final = """# Catalogue of hangs

Written by `python -m harness.catalogue.judge --write docs/CATALOGUE.md`. 36 programs and a fixed twin of each; every
program is in `harness/catalogue/programs/`. *hangs*: in every schedule (H), in some (S), in none (N).

W  wait-for graph at run time, and loops of which no task can go on (`harness.lockdep`, 40 runs on asyncio)
L  order of locks, from those of these runs that did *not* jam (`harness.lockdep`); `latent`: told, not failed
X  explorer (`harness.exploration`): all interleavings; empty where the program needs threads, sockets or timers
T  time limit (what pytest-timeout and faulthandler can see: that it hangs, not why)

A fixed twin is `silent` when no detector says anything. The verdict is right when the detectors together say what the
second column says, and nothing about the twin. Where T says `hang`, so does any tool that only has a time limit, and
only if the run at hand happened to hang; none of them tells an order that did not jam (row 2, 6), none proves a twin.

"""
OTHER_TOOLS: Final = "## What other tools say\n"
"""Begins the passage that `benchmarks/detectors.py` writes; it is kept."""
_MARKS: Final = {True: "hang", False: "–", None: ""}


def table(judgements: list[Judgement]) -> str:
    """The table of docs/CATALOGUE.md."""
    rows = [
        "| # | program | source | hangs | W | L | X | T | fixed twin: W L X T | right |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    by_number: dict[int, list[Judgement]] = {}
    for judgement in judgements:
        by_number.setdefault(judgement.entry.number, []).append(judgement)
    for buggy, fixed in by_number.values():
        entry = buggy.entry
        order = "latent" if buggy.latent and not buggy.L else _MARKS[buggy.L]
        twin = (
            "silent"
            if not fixed.says
            else " ".join(_MARKS[value] or "." for value in (fixed.W, fixed.L, fixed.X, fixed.T))
        )
        right = "yes" if buggy.right and fixed.right else "**no**"
        rows.append(
            f"| {entry.number} | {entry.title} | {entry.source} | {entry.verdict} | {_MARKS[buggy.W]} | {order} | "
            f"{_MARKS[buggy.X]} | {_MARKS[buggy.T]} | {twin} | {right} |"
        )
    return "\n".join(rows)


def main(argv: list[str] | None = None) -> int:
    """0: every verdict is right."""
    parser = argparse.ArgumentParser(prog="python -m harness.catalogue.judge", description=__doc__)
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fixed", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table to FILE as well")
    parser.add_argument("--only", type=int, action="append", help="judge these numbers")
    arguments = parser.parse_args(argv)
    known = {entry.number: entry for entry in entries()}
    if arguments.run:
        return _run_one(known[arguments.run], arguments.fixed, watched=arguments.watched)
    chosen = [known[number] for number in arguments.only] if arguments.only else list(known.values())
    judgements = [judge(entry, fixed) for entry in chosen for fixed in (False, True)]
    right = sum(judgement.right for judgement in judgements)
    version = sys.version.split(maxsplit=1)[0]
    text = f"{table(judgements)}\n\n{right} of {len(judgements)} verdicts right (Python {version}).\n"
    print(text, end="")
    if arguments.write:
        before = arguments.write.read_text("utf-8") if arguments.write.exists() else ""
        _, mark, others = before.partition(OTHER_TOOLS)
        arguments.write.write_text(HEAD + text + (f"\n{mark}{others}" if mark else ""), "utf-8")
    return 0 if right == len(judgements) else 1


if __name__ == "__main__":
    sys.exit(main())
