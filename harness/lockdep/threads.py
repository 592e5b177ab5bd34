"""Observed stand-ins for threading.Lock and threading.RLock, created only while a watch runs."""

from __future__ import annotations

import _thread
import sys
import threading
from types import TracebackType
from typing import Any, Final

from harness.lockdep.model import LockInfo, Site, is_library
from harness.lockdep.recorder import Recorder, _ident, _running_loop

_frame: Final = sys._getframe
_real_rlock: Final = threading.RLock


class _Active:
    """The recorder that the stand-ins report to; None between watches, and then they only pass calls on."""

    recorder: Recorder | None = None


active: Final = _Active()


def creation_site() -> Site | None:
    """Where a lock is created; None when the standard library makes it for itself (other than by `threading`)."""
    frame = _frame(2)
    if frame.f_code.co_filename == threading.__file__:  # of its own making only a Condition's lock is the user's
        condition = frame.f_code.co_qualname == "Condition.__init__"
        if not condition or frame.f_back is None:
            return None
        frame = frame.f_back
    if is_library(frame.f_code.co_filename):
        return None
    return Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


class WatchedLock:
    """threading.Lock with an observer. Locks of the standard library's own are not observed."""

    __slots__ = ("__weakref__", "_depth", "_info", "_lock", "_take")
    _kind = "threading.Lock"

    def __init__(self) -> None:
        self._lock: Any = self._make()
        self._take = self._lock.acquire
        self._depth = 0  # of an RLock
        recorder = active.recorder
        site = creation_site() if recorder is not None else None
        self._info = LockInfo(recorder, self._kind, site) if site is not None else None

    def _make(self) -> Any:
        return _thread.allocate_lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        info, recorder = self._info, active.recorder
        if info is None or recorder is None or info.recorder is not recorder:
            return self._lock.acquire(blocking, timeout)  # type: ignore[no-any-return]
        actor = recorder.actor()
        bounded = not blocking or timeout >= 0
        if actor.held and not bounded:
            recorder.note_order(actor, info)
        if not self._lock.acquire(False) and not (blocking and self._wait(recorder, actor, info, timeout)):
            return False
        recorder.taken(actor, info, _frame(1))
        return True

    def _wait(self, recorder: Recorder, actor: Any, info: LockInfo, timeout: float) -> bool:
        before = actor.waiting
        blocks_loop = _running_loop() is not None
        if blocks_loop:
            recorder.block_thread(actor)
        try:
            recorder.begin_wait(actor, "lock", info, bounded=timeout >= 0)
            return self._lock.acquire(True, timeout)  # type: ignore[no-any-return]
        finally:
            actor.waiting = before
            if blocks_loop:
                recorder.block_thread(None)

    def release(self) -> None:
        info, recorder = self._info, active.recorder
        if info is not None and recorder is not None and info.recorder is recorder:
            recorder.released(info)
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()  # type: ignore[no-any-return]

    def __enter__(self) -> bool:
        info, recorder = self._info, active.recorder
        if info is None or recorder is None or info.recorder is not recorder:
            return self._lock.__enter__()  # type: ignore[no-any-return]
        try:
            actor = recorder.actor() if recorder.loops and _ident() in recorder.loops else recorder.local.actor
        except AttributeError:
            actor = recorder.actor()
        held = actor.held
        if held:
            recorder.note_order(actor, info)
        if not self._take(False):
            self._wait(recorder, actor, info, -1)
        frame = _frame(1)
        info.owner = actor
        info.epoch = recorder.epoch
        info.code = frame.f_code
        info.lasti = frame.f_lasti
        held.append(info)
        return True

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        info = self._info
        if info is not None:
            owner = info.owner
            if owner is None or info.recorder is not active.recorder or not owner.held or owner.held[-1] is not info:
                WatchedLock.release(self)
                return
            info.owner = None
            owner.held.pop()
        self._lock.release()

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()

    def __repr__(self) -> str:
        return f"<observed {self._lock!r}>"


enter: Final = WatchedLock.__enter__
leave: Final = WatchedLock.__exit__


class WatchedRLock(WatchedLock):
    """threading.RLock with an observer; only the outermost acquire and release are told."""

    __slots__ = ()
    _kind = "threading.RLock"

    def _make(self) -> Any:
        return _real_rlock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._lock._is_owned():
            self._lock.acquire()
            self._depth += 1
            return True
        taken = super().acquire(blocking, timeout)
        if taken:
            self._depth = 1
        return taken

    def release(self) -> None:
        if not self._lock._is_owned():
            self._lock.release()  # raises what the real one raises
        self._depth -= 1
        if self._depth > 0:
            self._lock.release()
        else:
            super().release()

    def locked(self) -> bool:
        return self._depth > 0

    def __enter__(self) -> bool:
        if self._depth and self._lock._is_owned():
            self._take()
            self._depth += 1
            return True
        enter(self)
        self._depth = 1
        info = self._info
        if info is not None:
            frame = _frame(1)  # not the one of this method
            info.code = frame.f_code
            info.lasti = frame.f_lasti
        return True

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._depth != 1 or not self._lock._is_owned():
            self.release()
        else:
            self._depth = 0
            leave(self, None, None, None)

    # What threading.Condition asks of its lock.

    def _is_owned(self) -> bool:
        return self._lock._is_owned()  # type: ignore[no-any-return]

    def _recursion_count(self) -> int:
        return self._depth if self._lock._is_owned() else 0

    def _release_save(self) -> Any:
        depth, self._depth = self._depth, 0
        info, recorder = self._info, active.recorder
        if info is not None and recorder is not None and info.recorder is recorder:
            recorder.released(info)
        return (depth, self._lock._release_save())

    def _acquire_restore(self, state: Any) -> None:
        depth, real = state
        self._lock._acquire_restore(real)
        self._depth = depth
        info, recorder = self._info, active.recorder
        if info is not None and recorder is not None and info.recorder is recorder:
            recorder.taken(recorder.actor(), info, _frame(1))
