"""The observed ways into and out of asyncio.Lock and asyncio.Semaphore: the hot path of a watch.

The free case is decided and carried out here, in the same way as in asyncio (the lock is unlocked and nobody waits),
since a second coroutine per acquire would cost more than all of the recording. Everything else goes to the original.
`__aenter__` and `__aexit__` are plain functions that give an awaitable: where nothing has to be waited for, no
coroutine is made at all, which pays for the recording.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from types import CodeType
from typing import Any, Final

from harness.lockdep.model import TRIED, Actor, LockInfo, Site, user_frame
from harness.lockdep.recorder import Recorder, _ident, _running_loop, current_tasks

_frame: Final = sys._getframe
_Function = Callable[..., Any]


class _Done(tuple[()]):
    """An awaitable that does not suspend and gives None. All of it runs in C, which no coroutine does."""

    __slots__ = ()
    __await__ = tuple.__iter__


class _NoLoop:
    """What a future that is done needs of a loop."""

    def get_debug(self) -> bool:
        return False


def _done() -> Awaitable[None]:
    """The cheapest awaitable that is ready: on Python 3.11 a future that is done, later on a tuple."""
    if sys.version_info >= (3, 12):
        return _Done()  # type: ignore[return-value]
    future: asyncio.Future[None] = asyncio.Future(loop=_NoLoop())  # type: ignore[arg-type]
    future.set_result(None)
    return future


DONE: Final = _done()


async def _enter(lock: Any) -> None:
    await lock.acquire()


class LockPatches:
    """Replacements for the methods of asyncio.Lock; each maker takes the original."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def known(self, lock: Any) -> LockInfo:
        """The record of a lock; one that was created before the watch gets it at its first use."""
        info: LockInfo | None = getattr(lock, "_lockdep", None)
        if info is None or info.recorder is not self.recorder:
            permits = 1 if isinstance(lock, asyncio.Lock) else int(lock._value)
            site = Site("?", 0, "created before the watch began")
            info = lock._lockdep = LockInfo(self.recorder, f"asyncio.{type(lock).__name__}", site, permits)
        return info

    def init(self, original: _Function) -> _Function:
        """For locks and semaphores: remembers where it is created."""
        recorder = self.recorder

        def __init__(lock: Any, *args: Any, **kwargs: Any) -> None:
            original(lock, *args, **kwargs)
            frame = user_frame(2)
            site = (
                Site("?", 0, "?")
                if frame is None
                else Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
            )
            permits = int(lock._value) if isinstance(lock, asyncio.Semaphore) else 1
            lock._lockdep = LockInfo(recorder, f"asyncio.{type(lock).__name__}", site, permits)

        return __init__

    def adopt(self, lock: Any) -> tuple[LockInfo, Actor]:
        """Lock and task where one of them is not known yet."""
        return self.known(lock), self.recorder.actor()

    def make_acquire(self, original: _Function) -> _Function:
        recorder = self.recorder

        async def acquire(lock: Any) -> bool:
            info, actor = self.adopt(lock)
            frame = _frame(1)
            bounded = actor.deadlines > 0 or info.checked == (actor, recorder.epoch)
            if actor.held and not bounded:
                recorder.note_order(actor, info, frame)
            info.checked = None
            if lock._locked or lock._waiters:
                before = actor.waiting
                recorder.begin_lock_wait(actor, info)
                try:
                    await original(lock)
                finally:
                    actor.waiting = before
            else:
                lock._locked = True
            if bounded and actor.held:
                info.history = TRIED
            recorder.taken(actor, info, _frame(1))
            return True

        self.original_acquire = original
        return acquire

    def enter(self, _original: _Function) -> _Function:
        """`__aenter__`."""
        recorder = self.recorder
        tasks, note_order, wait = recorder.tasks, recorder.note_order, self._wait
        Lock: Any = asyncio.Lock

        def __aenter__(lock: Any) -> Awaitable[None]:
            if lock.__class__ is not Lock:
                return _enter(lock)
            try:
                info = lock._lockdep
                actor = tasks[id(current_tasks[recorder.only_loop])]
                if info.recorder is not recorder:
                    info = self.known(lock)
            except (AttributeError, KeyError):
                info, actor = self.adopt(lock)
            frame = _frame(1)
            held = actor.held
            if held and not actor.deadlines:
                note_order(actor, info, frame)
            if lock._locked or lock._waiters:
                return wait(lock, info, actor, frame.f_code, frame.f_lasti)
            lock._locked = True
            if held and actor.deadlines:
                info.history = TRIED
            info.owner = actor
            info.epoch = recorder.epoch
            info.code = frame.f_code
            info.lasti = frame.f_lasti
            held.append(info)
            return DONE

        return __aenter__

    async def _wait(self, lock: Any, info: LockInfo, actor: Actor, code: CodeType, lasti: int) -> None:
        """Take a lock that is not free."""
        before = actor.waiting
        self.recorder.begin_lock_wait(actor, info)
        try:
            await self.original_acquire(lock)
        finally:
            actor.waiting = before
        if actor.held and actor.deadlines:
            info.history = TRIED
        info.owner = actor
        info.epoch = self.recorder.epoch
        info.code = code
        info.lasti = lasti
        actor.held.append(info)

    def leave(self, _original: _Function) -> _Function:
        """`__aexit__`."""
        recorder, release = self.recorder, self.original_release
        Lock: Any = asyncio.Lock

        def __aexit__(lock: Any, exc_type: Any, exc: Any, traceback: Any) -> Awaitable[None]:
            if lock.__class__ is not Lock:
                lock.release()
                return DONE
            if lock._waiters or not lock._locked:
                release(lock)
            else:
                lock._locked = False
            try:
                info = lock._lockdep
                held = info.owner.held
            except AttributeError:
                return DONE
            if info.recorder is not recorder or info.history or not held or held[-1] is not info:
                recorder.released(info)
                return DONE
            if info.epoch != recorder.epoch:
                info.spans_await = True
            info.owner = None
            held.pop()
            if held:
                around = held[-1]
                if not around.history:
                    around.history = (info.serial,)
                elif info.serial not in around.history:
                    recorder.keep_history(held, len(held), info)
            return DONE

        return __aexit__

    def release(self, original: _Function) -> _Function:
        recorder = self.recorder

        def release(lock: Any) -> None:
            if lock._waiters or not lock._locked:
                original(lock)
            else:
                lock._locked = False
            info = getattr(lock, "_lockdep", None)
            if info is not None and info.recorder is recorder:
                recorder.released(info)

        self.original_release = original
        return release

    def locked(self, original: _Function) -> _Function:
        """A look that finds the lock free makes the acquire that follows in the same step one that cannot wait."""
        recorder = self.recorder

        def locked(lock: Any) -> bool:
            answer: bool = original(lock)
            if not answer and _running_loop() is not None:
                self.known(lock).checked = (recorder.actor(), recorder.epoch)
            return answer

        return locked

    def semaphore_acquire(self, original: _Function) -> _Function:
        recorder = self.recorder

        async def acquire(semaphore: Any) -> bool:
            info, actor = self.adopt(semaphore)
            await self._take_permit(semaphore, info, actor, _frame(1))
            if info.permits == 1:
                recorder.taken(actor, info, _frame(1))
            return True

        self.original_semaphore_acquire = original
        return acquire

    async def _take_permit(self, semaphore: Any, info: LockInfo, actor: Actor, frame: Any) -> None:
        recorder = self.recorder
        if info.permits == 1 and actor.held and not actor.deadlines:
            recorder.note_order(actor, info, frame)
        if semaphore._value <= 0 or semaphore._waiters:
            before = actor.waiting
            recorder.begin_lock_wait(actor, info)
            try:
                await self.original_semaphore_acquire(semaphore)
            finally:
                actor.waiting = before
        else:
            semaphore._value -= 1
        if info.permits > 1:
            info.holders[actor] = info.holders.get(actor, 0) + 1
        elif actor.held and actor.deadlines:
            info.history = TRIED

    def semaphore_enter(self, _original: _Function) -> _Function:
        """`__aenter__` of a semaphore with several permits, of which one is free; else `acquire`."""
        recorder, take = self.recorder, self._take_permit
        tasks = recorder.tasks
        Semaphore: Any = asyncio.Semaphore

        def __aenter__(semaphore: Any) -> Awaitable[None]:
            if semaphore.__class__ is not Semaphore:
                return _enter(semaphore)
            try:
                info = semaphore._lockdep
                actor = tasks[id(current_tasks[recorder.only_loop])]
                if info.recorder is not recorder:
                    info = self.known(semaphore)
            except (AttributeError, KeyError):
                info, actor = self.adopt(semaphore)
            if info.permits == 1:
                return _enter(semaphore)
            if semaphore._value <= 0 or semaphore._waiters:
                return take(semaphore, info, actor, None)
            semaphore._value -= 1
            holders = info.holders
            holders[actor] = holders[actor] + 1 if actor in holders else 1
            return DONE

        return __aenter__

    def semaphore_leave(self, _original: _Function) -> _Function:
        """`__aexit__` of a semaphore; one that nobody waits for has nobody to wake."""
        recorder = self.recorder
        tasks = recorder.tasks
        Semaphore: Any = asyncio.Semaphore

        def __aexit__(semaphore: Any, exc_type: Any, exc: Any, traceback: Any) -> Awaitable[None]:
            if semaphore.__class__ is Semaphore and not semaphore._waiters:
                try:
                    info = semaphore._lockdep
                    actor = tasks[id(current_tasks[recorder.only_loop])]
                    if info.permits > 1 and info.recorder is recorder and info.holders[actor] == 1:
                        del info.holders[actor]
                        semaphore._value += 1
                        return DONE
                except (AttributeError, KeyError):
                    pass
            semaphore.release()
            return DONE

        return __aexit__

    def semaphore_release(self, original: _Function) -> _Function:
        recorder = self.recorder
        tasks, loops = recorder.tasks, recorder.loops

        def release(semaphore: Any) -> None:
            original(semaphore)
            info = getattr(semaphore, "_lockdep", None)
            if info is None or info.recorder is not recorder:
                return
            if info.permits == 1:
                recorder.released(info)
                return
            holders = info.holders
            holder: Actor | None = None
            task = current_tasks.get(loops.get(_ident()))
            if task is not None:
                holder = tasks.get(id(task))
            if holder not in holders:
                holder = next(iter(holders), None)
            if holder is not None:
                holders[holder] -= 1
                if holders[holder] == 0:
                    del holders[holder]

        return release
