"""What other people's tools say about the programs of the catalogue and their fixed twins.

    python -m venv VENV
    VENV/bin/pip install pytest pytest-timeout locklib threadle hanging-threads blockbuster pyleak frontrun
    python -m benchmarks.detectors --python VENV/bin/python --write benchmarks/detectors.json
    python -m benchmarks.detectors --table benchmarks/detectors.json --into docs/CATALOGUE.md

Each program is run by each tool in a process of its own, which is ended after CHILD_SECONDS_MAX. A tool is right about
a program that can hang when it says anything, and about one that cannot (the near misses, the fixed twins) when it says
nothing. What a tool cannot be pointed at is `n/a` and counts for nothing. Tools that only watch one run get RUNS runs
with different random pauses (a time limit ends the first that hangs); `one run` is a test as most are, run once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import importlib
import importlib.metadata
import io
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.catalogue.entry import Entry, entries
from harness.catalogue.judge import OTHER_TOOLS
from harness.catalogue.world import AsyncioWorld

ROOT = Path(__file__).parents[1]
RUNS = 20
LIMIT_SECONDS = 2.0
"""The time limit that tools get for one run. Row 35 ends within it, as its author would have chosen one."""
CHILD_SECONDS_MAX = 120.0
HANG, SILENT, UNDECIDED, NOT_APPLICABLE = "hang", "silent", "undecided", "n/a"
SAID = "DETECTED"

TOOLS: dict[str, tuple[str, str]] = {
    "one run": ("", "that the first run, with asyncio's own order, does not end in time"),
    "pytest-timeout": ("pytest-timeout", "how long a test takes"),
    "faulthandler": ("", "how long a run takes (`dump_traceback_later`)"),
    "asyncio-debug": ("", "callbacks that block the loop for 0.1 s, once they end"),
    "hanging-threads": ("hanging-threads", "threads that stand in one frame for a second"),
    "blockbuster": ("blockbuster", "blocking calls made on the loop's thread"),
    "pyleak": ("pyleak", "a loop that is blocked for 0.2 s"),
    "locklib": ("locklib", "its own SmartLock between threads (each actor driven by a thread)"),
    "threadle": ("threadle", "its own TrackedLock between threads (each actor driven by a thread)"),
    "frontrun": ("frontrun", "interleavings of asyncio tasks that it explores"),
}
"""For each: its distribution, and what it can observe."""


class NotApplicableError(Exception):
    """The tool has nothing that the program could use."""


def available(tool: str) -> str:
    """The version of a tool's distribution, or of Python for what it brings."""
    distribution = TOOLS[tool][0]
    return importlib.metadata.version(distribution) if distribution else sys.version.split(maxsplit=1)[0]


class _PlainWorld(AsyncioWorld):
    """A pause gives the processor away once."""

    async def pause(self) -> None:
        await asyncio.sleep(0)


def program(entry: Entry, fixed: bool, seed: int | None) -> Coroutine[Any, Any, None]:
    """One run on asyncio; pauses are drawn by `seed`, or are none but the program's own."""

    async def run() -> None:
        if entry.plain is not None:
            await entry.plain(fixed)
            return
        assert entry.build is not None
        actors = entry.build(_PlainWorld(0) if seed is None else AsyncioWorld(seed), fixed)
        await asyncio.gather(*(asyncio.create_task(coroutine, name=name) for name, coroutine in actors))

    return run()


def runs(entry: Entry) -> int:
    """Programs with timers and sockets run once."""
    return RUNS if entry.plain is None else 1


def leave(verdict: str) -> None:
    """Say it and end the process, whatever its threads do."""
    print(f"{SAID if verdict == HANG else verdict}", flush=True)
    sys.stdout.flush()
    os._exit(0)


# --- tools that watch asyncio runs ------------------------------------------------------------------------------------


def with_pytest_timeout(entry: Entry, fixed: bool) -> str:
    """A test per run, `--timeout`, method `thread`."""
    text = (
        "import asyncio, pytest\nfrom benchmarks.detectors import program\n"
        "from harness.catalogue.entry import entries\n"
        f"ENTRY = next(entry for entry in entries() if entry.number == {entry.number})\n"
        f"@pytest.mark.parametrize('seed', range({runs(entry)}))\n"
        f"def test_program(seed):\n    asyncio.run(program(ENTRY, {fixed}, seed))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "test_program.py")
        path.write_text(text)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}"]
        command += [f"--timeout={LIMIT_SECONDS}", "--timeout-method=thread", "-c", os.devnull, str(path)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return HANG if "Timeout" in done.stdout + done.stderr else SILENT


def with_one_run(entry: Entry, fixed: bool) -> str:
    """As an ordinary test with a time limit: once, and nothing but the program's own order."""
    with _unless_it_hangs(HANG), contextlib.suppress(Exception):
        asyncio.run(program(entry, fixed, None))
    return SILENT


def with_faulthandler(entry: Entry, fixed: bool) -> str:
    """The stacks after the limit, and the end of the process: `main` sees that it did not end well."""
    for seed in range(runs(entry)):
        faulthandler.dump_traceback_later(LIMIT_SECONDS, exit=True)
        with contextlib.suppress(Exception):
            asyncio.run(program(entry, fixed, seed))
        faulthandler.cancel_dump_traceback_later()
    return SILENT


@contextlib.contextmanager
def _unless_it_hangs(verdict: str = "") -> Iterator[None]:
    """After the limit the tool has had its chance: the process ends with `verdict`, or what it has said by then."""
    timer = threading.Timer(LIMIT_SECONDS, lambda: leave(verdict or (HANG if _said() else SILENT)))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


_records: list[str] = []
_output = io.StringIO()


def _said() -> bool:
    return bool(_records) or "hangs" in _output.getvalue()


class _Keep(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _records.append(record.getMessage())


def with_asyncio_debug(entry: Entry, fixed: bool) -> str:
    logging.getLogger("asyncio").addHandler(_Keep(logging.WARNING))
    for seed in range(runs(entry)):
        with _unless_it_hangs(), contextlib.suppress(Exception):
            asyncio.run(program(entry, fixed, seed), debug=True)
    return HANG if _said() else SILENT


def with_hanging_threads(entry: Entry, fixed: bool) -> str:
    module = importlib.import_module("hanging_threads")
    sys.stderr = _output
    monitor = module.start_monitoring(seconds_frozen=1, test_interval=100)
    for seed in range(runs(entry)):
        with _unless_it_hangs(), contextlib.suppress(Exception):
            asyncio.run(program(entry, fixed, seed))
    monitor.stop()
    return HANG if _said() else SILENT


def with_blockbuster(entry: Entry, fixed: bool) -> str:
    module = importlib.import_module("blockbuster")
    with module.blockbuster_ctx():
        for seed in range(runs(entry)):
            with _unless_it_hangs():
                try:
                    asyncio.run(program(entry, fixed, seed))
                except module.BlockingError as error:
                    _records.append(str(error))
                except Exception:
                    pass
    return HANG if _said() else SILENT


def with_pyleak(entry: Entry, fixed: bool) -> str:
    module = importlib.import_module("pyleak")
    logger = logging.getLogger("pyleak")
    logger.addHandler(_Keep(logging.WARNING))

    async def watched(seed: int) -> None:
        with module.no_event_loop_blocking(action="log", logger=logger, threshold=0.2):
            await program(entry, fixed, seed)

    for seed in range(runs(entry)):
        with _unless_it_hangs(), contextlib.suppress(Exception):
            asyncio.run(watched(seed))
    return HANG if _said() else SILENT


# --- tools that bring locks of their own, for threads -----------------------------------------------------------------


class _ThreadLock:
    """A lock of such a tool with asyncio's interface: awaiting it blocks the thread."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._held = False

    async def acquire(self) -> bool:
        self._lock.acquire()
        self._held = True
        return True

    def locked(self) -> bool:
        return self._held

    def release(self) -> None:
        self._held = False
        self._lock.release()

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_: object) -> None:
        self.release()


class _ThreadWorld:
    """Each actor is a thread; there are locks and pauses, and nothing else."""

    def __init__(self, make: Callable[[str], Any], seed: int) -> None:
        self._make = make
        self._random = random.Random(seed)

    def lock(self, name: str) -> _ThreadLock:
        return _ThreadLock(self._make(name))

    async def pause(self) -> None:
        time.sleep(self._random.random() * 0.003)

    def __getattr__(self, name: str) -> Any:
        raise NotApplicableError(name)


def _on_threads(entry: Entry, fixed: bool, make: Callable[[str], Any], looks: Callable[[], bool]) -> str:
    if entry.build is None:
        return NOT_APPLICABLE
    errors: list[BaseException] = []

    def drive(coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            coroutine.send(None)
        except StopIteration:
            pass
        except BaseException as error:
            errors.append(error)

    for seed in range(RUNS):
        try:
            actors = entry.build(_ThreadWorld(make, seed), fixed)
        except (NotApplicableError, TypeError):
            return NOT_APPLICABLE
        threads = [threading.Thread(target=drive, args=(coroutine,), daemon=True) for _, coroutine in actors]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + LIMIT_SECONDS / 2
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(isinstance(error, NotApplicableError | AttributeError) for error in errors):
            return NOT_APPLICABLE
        if looks() or any("deadlock" in type(error).__name__.lower() for error in errors):
            return HANG
        if any(thread.is_alive() for thread in threads):
            return SILENT
    return SILENT


def with_locklib(entry: Entry, fixed: bool) -> str:
    module = importlib.import_module("locklib")
    return _on_threads(entry, fixed, lambda name: module.SmartLock(), lambda: False)


def with_threadle(entry: Entry, fixed: bool) -> str:
    module = importlib.import_module("threadle")
    return _on_threads(entry, fixed, module.TrackedLock, lambda: bool(module.detect_deadlocks()))


# --- an explorer ------------------------------------------------------------------------------------------------------


def with_frontrun(entry: Entry, fixed: bool) -> str:
    module = importlib.import_module("frontrun")
    build = entry.build
    if build is None:
        return NOT_APPLICABLE
    holder: list[Sequence[tuple[str, Coroutine[Any, Any, Any]]]] = []

    def setup() -> Sequence[tuple[str, Coroutine[Any, Any, Any]]]:
        assert build is not None
        holder.append(build(AsyncioWorld(0), fixed))
        return holder[-1]

    async def explore() -> Any:
        count = len(setup())
        for _, coroutine in holder.pop():
            coroutine.close()

        def worker(number: int) -> Callable[[Any], Coroutine[Any, Any, None]]:
            async def work(state: Any) -> None:
                await state[number][1]

            return work

        return await module.explore(
            setup=setup,
            workers=[worker(number) for number in range(count)],
            invariant=lambda state: True,
            total_timeout=CHILD_SECONDS_MAX / 2,
            reproduce_on_failure=0,
        )

    try:
        result = asyncio.run(explore())
    except Exception as error:
        return HANG if "deadlock" in f"{type(error).__name__} {error}".lower() else f"error: {type(error).__name__}"
    if result.property_holds is None:  # it says that its search was inconclusive
        return UNDECIDED
    return SILENT if result.property_holds else HANG


RUNNERS: dict[str, Callable[[Entry, bool], str]] = {
    "one run": with_one_run,
    "pytest-timeout": with_pytest_timeout,
    "faulthandler": with_faulthandler,
    "asyncio-debug": with_asyncio_debug,
    "hanging-threads": with_hanging_threads,
    "blockbuster": with_blockbuster,
    "pyleak": with_pyleak,
    "locklib": with_locklib,
    "threadle": with_threadle,
    "frontrun": with_frontrun,
}


# --- all of them ------------------------------------------------------------------------------------------------------


def ask(python: str, tool: str, entry: Entry, fixed: bool) -> str:
    """What a tool says about a program, in a process of its own."""
    command = [python, "-m", "benchmarks.detectors", "--tool", tool, "--run", str(entry.number)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    try:
        done = subprocess.run(
            command + (["--fixed"] if fixed else []),
            env=environment,
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer"
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if last == SAID or (tool == "faulthandler" and done.returncode):
        return HANG
    return last or f"error: exit code {done.returncode}"


def expected(entry: Entry, fixed: bool) -> bool:
    """Whether the program hangs in some schedule, on the Pythons before 3.12.1 (row 27 does later)."""
    return not fixed and entry.verdict != "N" and (entry.number != 27 or sys.version_info >= (3, 12, 1))


def collect(python: str, processes: int, tools: Sequence[str], before: dict[str, Any]) -> dict[str, Any]:
    """The tools on every program; of other tools, what was found `before`."""
    jobs = [(tool, entry, fixed) for tool in tools for entry in entries() for fixed in (False, True)]
    with ThreadPoolExecutor(processes) as pool:
        said = list(pool.map(lambda job: ask(python, *job), jobs))
    shown = subprocess.run(
        [python, "-m", "benchmarks.detectors", "--versions"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, dict[str, list[str]]] = {tool: {} for tool in tools}
    for (tool, entry, _), verdict in zip(jobs, said, strict=True):
        found[tool].setdefault(str(entry.number), []).append(verdict)
    merged = before.get("results", {}) | found
    return {
        "method": {"runs": RUNS, "limit_seconds": LIMIT_SECONDS, "python": sys.version.split(maxsplit=1)[0]},
        "versions": json.loads(shown.stdout),
        "results": {tool: merged[tool] for tool in RUNNERS if tool in merged},
    }


def table(data: dict[str, Any]) -> list[str]:
    """The rows of docs/CATALOGUE.md: what each says, `!` where that is wrong, and how many are right."""
    known = list(entries())
    tools = list(data["results"])
    lines = ["| # | " + " | ".join(tools) + " |", "|---|" + "---|" * len(tools)]
    right = dict.fromkeys(tools, 0)
    asked = dict.fromkeys(tools, 0)
    alarms = dict.fromkeys(tools, 0)
    for entry in known:
        cells = []
        for tool in tools:
            marks = []
            for fixed, verdict in zip((False, True), data["results"][tool][str(entry.number)], strict=True):
                if verdict == NOT_APPLICABLE:
                    marks.append("")
                    continue
                good = verdict in (HANG, SILENT) and (verdict == HANG) == expected(entry, fixed)
                asked[tool] += 1
                right[tool] += good
                alarms[tool] += verdict == HANG and not good
                said = {HANG: "hang", SILENT: "–"}.get(verdict, verdict)
                marks.append(said + ("" if good else " **!**"))
            cells.append("" if marks == ["", ""] else " / ".join(marks))
        lines.append(f"| {entry.number} | " + " | ".join(cells) + " |")
    lines.append("| right | " + " | ".join(f"{right[tool]} of {asked[tool]}" for tool in tools) + " |")
    lines.append("| false alarms | " + " | ".join(str(alarms[tool]) for tool in tools) + " |")
    return lines


def section(data: dict[str, Any]) -> str:
    """The whole passage for docs/CATALOGUE.md."""
    method = data["method"]
    head = [
        OTHER_TOOLS.rstrip(),
        "",
        "The same 72 programs, asked by `python -m benchmarks.detectors` (data: `benchmarks/detectors.json`; Python",
        f"{method['python']}). Each cell: the program / its fixed twin; `–` it said nothing; **!** that is wrong;",
        "empty where the tool has nothing that the program could use. `one run` is a test with a time limit;",
        f"the other tools that watch runs got {method['runs']} with different random pauses, as the detectors above,",
        f"and {method['limit_seconds']:.0f} s for each. A time limit is right about a program when one of these runs",
        "happens to hang; it cannot tell why, and what it says of a twin is about the runs, not the program.",
        "",
        *(f"- **{tool}** {data['versions'][tool]}: observes {TOOLS[tool][1]}" for tool in data["results"]),
        "",
        "`undecided`: frontrun says of its search that runs timed out (its own 5 s a run; it waits where a task waits",
        "for what is no lock of its own, and the machine was busy). Of row 5 it is right for threads: asyncio gives no",
        "other task a turn between those two locks. simloop, simloom and interleave-test could not be had from PyPI.",
        "",
    ]
    return "\n".join([*head, *table(data), ""])


def main() -> int:
    """Collect, print the table, or (inside the tools' own environment) run one program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="the Python in which the tools are installed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--only", action="append", choices=RUNNERS, metavar="TOOL", help="ask this one again")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the passage made of such a file")
    parser.add_argument("--into", type=Path, metavar="FILE", help="with --table: put the passage at the end of FILE")
    parser.add_argument("--tool", choices=RUNNERS, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fixed", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--versions", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.versions:
        print(json.dumps({tool: available(tool) for tool in RUNNERS}))
    elif arguments.run:
        entry = next(entry for entry in entries() if entry.number == arguments.run)
        leave(RUNNERS[arguments.tool](entry, arguments.fixed))
    elif arguments.table:
        text = section(json.loads(arguments.table.read_text("utf-8")))
        if arguments.into:
            kept, _, _ = arguments.into.read_text("utf-8").partition(OTHER_TOOLS)
            arguments.into.write_text(f"{kept.rstrip()}\n\n{text}", "utf-8")
        print(text)
    elif arguments.python:
        known = arguments.write is not None and arguments.write.exists() and arguments.only
        before = json.loads(arguments.write.read_text("utf-8")) if known else {}
        data = collect(arguments.python, arguments.processes, arguments.only or list(RUNNERS), before)
        if arguments.write:
            arguments.write.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
        print(section(data))
    else:
        parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
