"""The patches: put in place by a watch, taken away again exactly.

Nothing of the observed code is changed. Methods of asyncio's classes are replaced by ones that call the original;
`threading.Lock` and `threading.RLock` are replaced by observed stand-ins for locks created from then on (a lock that
exists already, or was created through a name imported before, is not seen).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import sys
import threading
import weakref
from asyncio import base_events, tasks, timeouts
from collections.abc import Callable
from typing import Any, Final

from harness.lockdep.aiolocks import LockPatches
from harness.lockdep.model import Actor
from harness.lockdep.recorder import Recorder, _ident, _running_loop, current_tasks
from harness.lockdep.threads import WatchedLock, WatchedRLock, active

_frame: Final = sys._getframe
_Function = Callable[..., Any]


class Patches:
    """`install()` and `remove()`; between them `recorder` is told everything. `on_idle`: a loop has nothing to do."""

    def __init__(self, recorder: Recorder, on_idle: Callable[[Any], None]) -> None:
        self.recorder = recorder
        self.on_idle = on_idle
        self._saved: list[tuple[Any, str, Any, bool]] = []

    def install(self) -> None:
        active.recorder = self.recorder
        running = _running_loop()
        if running is not None:
            self.recorder.enter_loop(running)
        self._patch_locks()
        self._patch_tasks()
        self._patch_timeouts()
        self._patch_threads()

    def remove(self) -> None:
        """Put back every original, in the opposite order."""
        while self._saved:
            owner, name, original, own = self._saved.pop()
            if own:
                setattr(owner, name, original)
            else:
                delattr(owner, name)
        active.recorder = None

    def _replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        replacement = make(original)
        if callable(original) and not isinstance(original, type) and not isinstance(replacement, type):
            functools.update_wrapper(replacement, original)
        self._saved.append((owner, name, original, name in vars(owner)))
        setattr(owner, name, replacement)

    # asyncio.Lock, asyncio.Semaphore, asyncio.TaskGroup

    def _patch_locks(self) -> None:
        locks = LockPatches(self.recorder)
        self._replace(asyncio.Lock, "__init__", locks.init)
        self._replace(asyncio.Lock, "acquire", locks.make_acquire)
        self._replace(asyncio.Lock, "release", locks.release)
        self._replace(asyncio.Lock, "locked", locks.locked)
        self._replace(asyncio.Lock, "__aenter__", locks.enter)
        self._replace(asyncio.Lock, "__aexit__", locks.leave)
        self._replace(asyncio.Semaphore, "__init__", locks.init)
        self._replace(asyncio.Semaphore, "acquire", locks.semaphore_acquire)
        self._replace(asyncio.Semaphore, "release", locks.semaphore_release)
        self._replace(asyncio.Semaphore, "__aenter__", locks.semaphore_enter)
        self._replace(asyncio.Semaphore, "__aexit__", locks.semaphore_leave)
        self._replace(asyncio.TaskGroup, "__aexit__", self._group_exit)

    def _group_exit(self, original: _Function) -> _Function:
        recorder = self.recorder

        async def __aexit__(group: Any, *exc: Any) -> Any:
            if not group._tasks:
                return await original(group, *exc)
            actor = recorder.actor()
            before = recorder.begin_wait(actor, "task group", group)
            try:
                return await original(group, *exc)
            finally:
                actor.waiting = before

        return __aexit__

    # Tasks and the loop

    def _patch_tasks(self) -> None:
        self._replace(base_events.BaseEventLoop, "create_task", self._create_task)
        self._replace(base_events.BaseEventLoop, "_run_once", self._run_once)
        self._replace(base_events.BaseEventLoop, "run_forever", self._run_forever)

    def _create_task(self, original: _Function) -> _Function:
        recorder = self.recorder
        loops = recorder.loops

        def create_task(loop: Any, coro: Any, **kwargs: Any) -> Any:
            task = original(loop, coro, **kwargs)
            parent: Actor | None = None
            running = current_tasks.get(loops.get(_ident()))
            if running is not None:
                parent = recorder.tasks.get(id(running))
            known = recorder.tasks.get(id(task))
            if known is None or known.task is not task:
                recorder.add_task(task, parent)
            return task

        return create_task

    def _run_once(self, original: _Function) -> _Function:
        recorder = self.recorder

        def _run_once(loop: Any) -> None:
            recorder.epoch += 1
            if recorder.only_loop is not loop:  # each time: another loop may have been run from within this one
                recorder.enter_loop(loop)
            if not loop._ready and not loop._scheduled:
                self.on_idle(loop)
            original(loop)

        return _run_once

    def _run_forever(self, original: _Function) -> _Function:
        recorder = self.recorder

        def run_forever(loop: Any) -> None:
            outer = recorder.loops.get(_ident())
            try:
                original(loop)
            finally:
                recorder.enter_loop(outer)

        return run_forever

    # Timeouts: whoever waits inside one goes on in any case

    def _patch_timeouts(self) -> None:
        self._replace(timeouts.Timeout, "__aenter__", self._timeout_enter)
        self._replace(timeouts.Timeout, "__aexit__", self._timeout_exit)
        if sys.version_info < (3, 12):
            for module in (tasks, asyncio):
                self._replace(module, "wait_for", self._wait_for)

    def _timeout_enter(self, original: _Function) -> _Function:
        recorder = self.recorder

        async def __aenter__(timeout: Any) -> Any:
            result = await original(timeout)
            if timeout.when() is not None:
                actor = recorder.actor()
                actor.deadlines += 1
                timeout._lockdep = actor
            return result

        return __aenter__

    def _timeout_exit(self, original: _Function) -> _Function:
        async def __aexit__(timeout: Any, *exc: Any) -> Any:
            actor = timeout.__dict__.pop("_lockdep", None)
            if actor is not None:
                actor.deadlines -= 1
            return await original(timeout, *exc)

        return __aexit__

    def _wait_for(self, original: _Function) -> _Function:
        """Python 3.11 runs the awaited coroutine in a task of its own: let that one count as the caller."""
        recorder = self.recorder

        async def wait_for(fut: Any, timeout: Any) -> Any:
            if timeout is None or not asyncio.iscoroutine(fut):
                return await original(fut, timeout)
            outer = recorder.actor()
            return await original(_as_caller(recorder, outer, fut), timeout)

        return wait_for

    # Threads, executors, and futures that a thread waits for

    def _patch_threads(self) -> None:
        self._replace(threading, "Lock", lambda _original: WatchedLock)
        self._replace(threading, "RLock", lambda _original: WatchedRLock)
        self._replace(threading.Thread, "start", self._thread_start)
        self._replace(threading.Thread, "join", self._thread_join)
        self._replace(concurrent.futures.Future, "result", self._future_result)
        self._replace(concurrent.futures.ThreadPoolExecutor, "submit", self._submit)
        for module in (tasks, asyncio):
            self._replace(module, "run_coroutine_threadsafe", self._threadsafe)

    def _thread_start(self, original: _Function) -> _Function:
        recorder = self.recorder

        def start(thread: Any) -> None:
            actor = Actor("thread", weakref.ref(thread), thread.name, 0, recorder.actor())
            actor.recorder = recorder
            thread._lockdep_actor = actor
            original(thread)

        return start

    def _thread_join(self, original: _Function) -> _Function:
        recorder = self.recorder

        def join(thread: Any, timeout: float | None = None) -> None:
            other = getattr(thread, "_lockdep_actor", None)
            if timeout is not None or not thread.is_alive():
                original(thread, timeout)
            else:
                actor = recorder.actor()
                before = recorder.begin_wait(actor, "join of thread", other)
                try:
                    original(thread, timeout)
                finally:
                    actor.waiting = before
            if other is not None and not thread.is_alive():
                other.awaited = True

        return join

    def _submit(self, original: _Function) -> _Function:
        recorder = self.recorder

        def ended(_future: Any) -> None:
            with recorder.guard:
                recorder.in_flight -= 1

        def submit(executor: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            future = original(executor, fn, *args, **kwargs)
            future._lockdep_executor = executor
            with recorder.guard:
                recorder.in_flight += 1
            future.add_done_callback(ended)
            return future

        return submit

    def _threadsafe(self, original: _Function) -> _Function:
        def run_coroutine_threadsafe(coro: Any, loop: Any) -> Any:
            future = original(coro, loop)
            future._lockdep_loop = loop
            return future

        return run_coroutine_threadsafe

    def _future_result(self, original: _Function) -> _Function:
        recorder = self.recorder
        in_pool: dict[int, int] = {}  # id of an executor -> its workers that wait for work of the same executor

        def result(future: Any, timeout: float | None = None) -> Any:
            if timeout is not None or future.done():
                return original(future, timeout)
            loop = getattr(future, "_lockdep_loop", None)
            executor = getattr(future, "_lockdep_executor", None)
            actor = recorder.actor()
            own = executor is not None and threading.current_thread() in executor._threads
            workers = executor._max_workers if executor is not None else 0
            kind = "future"
            if own:
                in_pool[id(executor)] = in_pool.get(id(executor), 0) + 1
                if in_pool[id(executor)] >= workers and not future.running():
                    kind = "hopeless"
            if loop is not None and loop is _running_loop():
                kind = "hopeless"
            what = (
                "result of a coroutine of the loop it blocks" if loop is not None else "result of work for its own pool"
            )
            blocks_loop = _running_loop() is not None
            if blocks_loop:
                recorder.block_thread(actor)
            before = actor.waiting
            try:
                target = loop if loop is not None and kind != "hopeless" else what
                recorder.begin_wait(actor, kind, target)
                return original(future, timeout)
            finally:
                actor.waiting = before
                if blocks_loop:
                    recorder.block_thread(None)
                if own:
                    in_pool[id(executor)] -= 1

        return result


async def _as_caller(recorder: Recorder, outer: Actor, coroutine: Any) -> Any:
    task = asyncio.current_task()
    inner = recorder.tasks.get(id(task))
    recorder.tasks[id(task)] = outer
    outer.deadlines += 1
    try:
        return await coroutine
    finally:
        outer.deadlines -= 1
        if inner is not None:
            recorder.tasks[id(task)] = inner
        else:
            recorder.tasks.pop(id(task), None)
