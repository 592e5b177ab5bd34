"""Observed stand-ins for threading.Lock and threading.RLock, created only while a watch runs."""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from harness.lockdep.model import TRIED, Actor, LockInfo, Site, is_library
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
    """threading.Lock with an observer. The standard library gets a real one where it makes one for itself."""

    __slots__ = ("__weakref__", "_again", "_info", "_lock", "_take")
    _kind = "threading.Lock"
    _make: Callable[[], Any] = staticmethod(_thread.allocate_lock)
    _lock: Any
    _take: Any
    _again: int  # how often its owner has taken an RLock again
    _info: LockInfo

    def __new__(cls) -> Any:
        recorder = active.recorder
        site = creation_site() if recorder is not None else None
        if recorder is None or site is None:
            return cls._make()
        self = object.__new__(cls)
        self._lock = cls._make()
        self._take = self._lock.acquire
        self._again = 0
        self._info = LockInfo(recorder, cls._kind, site)
        return self

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        info, recorder = self._info, active.recorder
        if recorder is None or info.recorder is not recorder:
            return self._lock.acquire(blocking, timeout)  # type: ignore[no-any-return]
        actor = recorder.actor()
        bounded = not blocking or timeout >= 0
        frame = _frame(1)
        if actor.held and not bounded:
            recorder.note_order(actor, info, frame)
        if not self._take(False) and not (blocking and self._wait(recorder, actor, info, timeout)):
            return False
        if info.owner is not None:
            self._again += 1
        else:
            if bounded and actor.held:
                info.history = TRIED
            recorder.taken(actor, info, frame)
        return True

    def _wait(self, recorder: Recorder, actor: Actor, info: LockInfo, timeout: float) -> bool:
        before = actor.waiting
        blocks_loop = _running_loop() is not None
        if blocks_loop:
            recorder.block_thread(actor)
        try:
            if timeout >= 0:
                recorder.begin_wait(actor, "lock", info, bounded=True)
            else:
                recorder.begin_lock_wait(actor, info)
            return self._lock.acquire(True, timeout)  # type: ignore[no-any-return]
        finally:
            actor.waiting = before
            if blocks_loop:
                recorder.block_thread(None)

    def release(self) -> None:
        info, recorder = self._info, active.recorder
        if self._again and self._lock._is_owned():
            self._again -= 1
        elif recorder is not None and info.recorder is recorder and self._may_release():
            recorder.released(info)
        self._lock.release()  # raises what the real one raises

    def _may_release(self) -> bool:
        return True

    def locked(self) -> bool:
        return self._lock.locked()  # type: ignore[no-any-return]

    def __enter__(self) -> bool:
        info, recorder = self._info, active.recorder
        if recorder is None or info.recorder is not recorder:
            return self._take()  # type: ignore[no-any-return]
        try:
            actor = recorder.actor() if recorder.loops and _ident() in recorder.loops else recorder.local.actor
        except AttributeError:
            actor = recorder.actor()
        frame = _frame(1)
        held = actor.held
        if held:
            recorder.note_order(actor, info, frame)
        if not self._take(False):
            self._wait(recorder, actor, info, -1)
        if info.owner is not None:  # an RLock, taken again
            self._again += 1
            return True
        info.owner = actor
        info.epoch = recorder.epoch
        info.code = frame.f_code
        info.lasti = frame.f_lasti
        held.append(info)
        return True

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        info, recorder = self._info, active.recorder
        owner = info.owner
        if (
            owner is None
            or recorder is None
            or self._again
            or info.recorder is not recorder
            or info.history
            or owner.held[-1] is not info
        ):
            self.release()
            return
        info.owner = None
        held = owner.held
        held.pop()
        if held:
            around = held[-1]
            if not around.history:
                around.history = (info.serial,)
            elif info.serial not in around.history:
                recorder.keep_history(held, len(held), info)
        self._lock.release()

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()

    def __repr__(self) -> str:
        return f"<observed {self._lock!r}>"


class WatchedRLock(WatchedLock):
    """threading.RLock with an observer; only the outermost acquire and release are told."""

    __slots__ = ()
    _kind = "threading.RLock"
    _make = staticmethod(_real_rlock)

    def locked(self) -> bool:
        return self._info.owner is not None

    def _may_release(self) -> bool:
        return self._is_owned()

    # What threading.Condition asks of its lock.

    def _is_owned(self) -> bool:
        return self._lock._is_owned()  # type: ignore[no-any-return]

    def _recursion_count(self) -> int:
        return self._again + 1 if self._lock._is_owned() else 0

    def _release_save(self) -> Any:
        again, self._again = self._again, 0
        info, recorder = self._info, active.recorder
        if recorder is not None and info.recorder is recorder:
            recorder.released(info)
        return (again, self._lock._release_save())

    def _acquire_restore(self, state: Any) -> None:
        again, real = state
        self._lock._acquire_restore(real)
        self._again = again
        info, recorder = self._info, active.recorder
        if recorder is not None and info.recorder is recorder:
            recorder.taken(recorder.actor(), info, _frame(1))
