"""One watch: patches in place, a recorder behind them, findings at any time."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from types import TracebackType
from typing import Any, Final

from harness.lockdep.findings import Finding
from harness.lockdep.model import Actor
from harness.lockdep.patches import Patches
from harness.lockdep.recorder import Recorder

_IDLE_WORKER: Final = "_worker"


class DeadlockError(RuntimeError):
    """Raised in the wait that closes a circle, by a watch with `raise_on_jam`."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.summary)
        self.finding = finding


class Watch:
    """Observes from `start()` to `stop()`; also a context manager. Raises RuntimeError while another watch runs.

    `raise_on_jam`: the wait that closes a circle raises DeadlockError instead of waiting for ever, and the tasks of a
    loop that can never go on are cancelled.

    `closed`: what runs under the watch is the whole program, so threads that ran before `start()` never call into it.
    Without it such a thread might, and a loop beside one is never told to stand still for ever.
    """

    _running: Watch | None = None

    def __init__(self, *, raise_on_jam: bool = False, closed: bool = False) -> None:
        self.raise_on_jam = raise_on_jam
        self.closed = closed
        self._outsiders: frozenset[threading.Thread] = frozenset()
        self.recorder = Recorder(self._raise if raise_on_jam else None)
        self._patches = Patches(self.recorder, self._idle)
        self._kept: list[Finding] | None = None

    def start(self) -> Watch:
        if Watch._running is not None:
            raise RuntimeError("another lockdep watch is running: stop it first")
        Watch._running = self
        if self.closed:
            self._outsiders = frozenset(threading.enumerate())
        self._patches.install()
        return self

    def stop(self) -> None:
        """Put everything back; the findings stay. A second call does nothing."""
        if Watch._running is self:
            self._patches.remove()
            Watch._running = None
            self._kept = self.recorder.findings()

    def __enter__(self) -> Watch:
        return self.start()

    def __exit__(self, *_exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def findings(self) -> list[Finding]:
        """What was found so far: jams first, then leaks, then orders."""
        return list(self._kept) if self._kept is not None else self.recorder.findings()

    def text(self) -> str:
        """All findings as blocks, an empty line between them."""
        return "\n\n".join(finding.text() for finding in self.findings())

    def json(self) -> str:
        """All findings as a JSON array."""
        return json.dumps([finding.as_dict() for finding in self.findings()], indent=2)

    def order_graph(self) -> list[tuple[str, str, str]]:
        """The edges seen: (class of the held lock, class of the lock taken, where), by creation site."""
        edges = {
            (str(held.site), str(dependency.lock.site)): str(dependency.stack[0]) if dependency.stack else "?"
            for dependency in self.recorder.dependencies
            for held in dependency.held
        }
        return [(held, taken, where) for (held, taken), where in edges.items()]

    def _raise(self, finding: Finding) -> None:
        raise DeadlockError(finding)

    # A loop that has nothing to do

    def _idle(self, loop: Any) -> None:
        """Nothing is ready, nothing is scheduled: unless something comes from outside, no task ever runs again."""
        if not self._is_cut_off(loop):
            return
        waiting = [task for task in asyncio.all_tasks(loop) if not task.done()]
        members: list[Actor] = []
        for task in waiting:
            actor = self.recorder.tasks.get(id(task)) or self.recorder.add_task(task, None)
            if actor.task is not task:
                continue
            if self.recorder.wait_of(actor) is not None:
                members.append(actor)
        if not members:
            return
        try:
            self.recorder.jammed(members)
        except DeadlockError:
            for task in waiting:
                task.cancel("lockdep: no task of this loop can go on")

    def _is_cut_off(self, loop: Any) -> bool:
        """No file descriptor but the loop's own, no signal handler, no other thread that could call."""
        selector = getattr(loop, "_selector", None)
        internal = getattr(loop, "_internal_fds", None)
        if selector is None or internal is None or getattr(loop, "_signal_handlers", None):
            return False
        if len(selector.get_map()) > internal or self.recorder.in_flight:
            return False
        own = threading.get_ident()
        frames = sys._current_frames()
        for thread in threading.enumerate():
            if thread.ident == own or not thread.is_alive() or thread in self._outsiders:
                continue
            frame = frames.get(thread.ident or 0)
            while frame is not None and frame.f_code.co_name != _IDLE_WORKER:
                frame = frame.f_back
            if frame is None or not frame.f_code.co_filename.endswith("thread.py") or self._busy(thread):
                return False
        return not loop._ready  # a worker may have called while we looked

    def _busy(self, thread: threading.Thread) -> bool:
        """Is a pool's worker at work (rather than waiting for some)?"""
        frame = sys._current_frames().get(thread.ident or 0)
        while frame is not None:
            if frame.f_code.co_name == "run" and frame.f_code.co_filename.endswith("thread.py"):
                return True
            frame = frame.f_back
        return False


def watch(*, raise_on_jam: bool = False, closed: bool = False) -> Watch:
    """A watch, to be used as a context manager or with `start()` and `stop()`; the keywords are those of `Watch`."""
    return Watch(raise_on_jam=raise_on_jam, closed=closed)
