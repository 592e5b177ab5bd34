"""How coroutines wait and who wakes them: the scheduler and the clock behind everything that blocks in mailjam.

`CriticalSection`, queues and workers block only through a `Scheduler`. On asyncio that is `AsyncioScheduler`; under the
explorer it is one that hands every wait and every preemption point to a search. This is the only file of the emulator
(transport and server apart) that knows asyncio's tasks and futures.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from dataclasses import dataclass
from time import monotonic, time
from typing import Any, Protocol

from protocols.actor import Actor, current_actor
from protocols.ports import Handle


class Waiter(Protocol):
    """A one-shot event: `await` it until `wake` was called (before or after)."""

    def wake(self) -> None: ...
    def fail(self, error: Exception) -> None:
        """End the wait with an error."""
        ...

    def __await__(self) -> Generator[Any, Any, None]: ...


@dataclass(frozen=True, slots=True)
class Point:
    """A named place at which an actor can lose the processor.

    `name` is stable (`inbound.imail.held`): gates, schedules, reports and tests use it. `kind` says what comes next
    (`acquire`, `release`, `read`, `write`, `stage`) on which `target` (`section:imail`, `folder:12`): the footprint by
    which the explorer decides which steps commute.
    """

    name: str
    kind: str = "stage"
    target: str = ""


PointHook = Callable[[Actor, Point], Awaitable[None] | None]


class Scheduler(Protocol):
    """All that may suspend a coroutine of the emulator."""

    def waiter(self) -> Waiter: ...

    def reach(self, point: Point) -> Awaitable[None]:
        """Arrive at a preemption point."""
        ...

    def pause(self) -> Awaitable[None]:
        """Lose the processor once, whatever the preemption: for work that may go on for long."""
        ...

    def now(self) -> float:
        """Monotonic seconds, for held-since and waiting-since."""
        ...

    def spawn(self, actor: Actor, coroutine: Coroutine[Any, Any, None]) -> Any:
        """Start an actor's coroutine; the task is kept until it ends."""
        ...


@dataclass(frozen=True, slots=True)
class Preemption:
    """How often an actor loses the processor at a point, when no gate says otherwise.

    A Windows NT thread could be preempted anywhere; a coroutine only where it awaits. At each point the actor yields
    with probability `1 / one_in`, drawn from a generator with `seed` (None: from the operating system). It is the same
    for every build: what differs between builds is the order of the sections alone.
    """

    one_in: int = 4
    seed: int | None = None


class _AsyncioWaiter(asyncio.Future[None]):
    def wake(self) -> None:
        if not self.done():
            self.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done():
            self.set_exception(error)


class _Ready:
    """An awaitable that does not suspend: one object for all points that are passed without losing the processor."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        return _ENDED


_ENDED: Generator[Any, Any, None] = iter(())  # type: ignore[assignment]
"""Is at its end, whoever awaits it."""


class _Turn:
    """What `asyncio.sleep(0)` does: the others have their turn first. One object for all, for it keeps nothing."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        yield


READY = _Ready()
_TURN = _Turn()


class AsyncioScheduler:
    """The scheduler of a running server."""

    def __init__(self, preemption: Preemption | None = None) -> None:
        self.preemption = preemption or Preemption()
        # Not for secrets: a seeded draw decides at which points actors yield.
        self._random = random.Random(self.preemption.seed)  # noqa: S311
        self.hook: PointHook | None = None
        """Called at every point with the current actor; what it returns is awaited. Gates set it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where it is used; asking asyncio for it costs a system call."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.failures: list[tuple[str, BaseException]] = []
        """Actors that ended by an exception: a defect of ours, kept for reports and tests (at most 100)."""

    def _running(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is None or not loop.is_running():
            loop = self._loop = asyncio.get_running_loop()
        return loop

    def waiter(self) -> Waiter:
        return _AsyncioWaiter(loop=self._running())

    def reach(self, point: Point) -> Awaitable[None]:
        if self.hook is not None:
            awaitable = self.hook(current_actor.get(), point)
            if awaitable is not None:
                return awaitable
        if self.preemption.one_in and self._random.random() * self.preemption.one_in < 1:
            return _TURN
        return READY

    def pause(self) -> Awaitable[None]:
        return _TURN

    def now(self) -> float:
        return monotonic()

    def spawn(self, actor: Actor, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        context = copy_context()
        context.run(current_actor.set, actor)
        task = self._running().create_task(coroutine, name=actor.name, context=context)
        actor.stack_of = task
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None and len(self.failures) < 100:
                self.failures.append((task.get_name(), error))

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """All actors' tasks that have not ended."""
        return frozenset(self._tasks)

    def cancel_others(self) -> None:
        """Cancel every actor's task but the one that calls."""
        own = asyncio.current_task()
        for task in tuple(self._tasks):
            if task is not own:
                task.cancel()

    async def cancel_all(self) -> None:
        """End every actor now, the jammed ones too. Sections are released on the way out."""
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5)


def retry_pause(attempts: int, seconds_min: float, seconds_max: float) -> float:
    """Seconds before the next attempt where one has failed, and so many `attempts` before it: they double with each."""
    return min(seconds_min * 2.0 ** min(attempts, 30), seconds_max)


class AsyncioClock:
    """Real time."""

    time = staticmethod(time)
    monotonic = staticmethod(monotonic)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle:
        return asyncio.get_running_loop().call_later(seconds, callback)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
