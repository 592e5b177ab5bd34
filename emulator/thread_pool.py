"""So many threads for a kind of work: who gets one, who waits for one, who gives up waiting.

The original served the clients of the information store, and its gateways, from pools of fixed size (KB Q169686: *Max
Threads(Public+Private)*). Builds and defects say how large a pool is (`Build.pool`); without a number nobody waits.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

from protocols.actor import Actor, current_actor
from protocols.ports import Clock

from .scheduling import Scheduler, Waiter


class NoThread(Exception):
    """No thread became free in time."""


class _Loan:
    """`async with pool.thread():`, one thread until the end of the block."""

    __slots__ = ("_pool", "_seconds_max")

    def __init__(self, pool: ThreadPool, seconds_max: float | None) -> None:
        self._pool = pool
        self._seconds_max = seconds_max

    async def __aenter__(self) -> Self:
        await self._pool.take(self._seconds_max)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.give_back()


class ThreadPool:
    """Threads in order of asking. An actor that asks again while it has one needs a second."""

    def __init__(
        self, name: str, scheduler: Scheduler, clock: Clock | None = None, threads_max: int | None = None
    ) -> None:
        """`threads_max`: None for as many as are asked for. `clock` is needed where somebody gives up waiting."""
        self.name = name
        self.threads_max = threads_max
        self.busy: list[Actor] = []
        """Who has a thread, once for each."""
        self.waiting: deque[tuple[Actor, Waiter]] = deque()
        self._scheduler = scheduler
        self._clock = clock

    def thread(self, seconds_max: float | None = None) -> _Loan:
        """A thread for a block. Entering raises NoThread after `seconds_max` of waiting."""
        return _Loan(self, seconds_max)

    async def take(self, seconds_max: float | None = None) -> None:
        """Wait for a thread. Raises NoThread."""
        actor = current_actor.get()
        if self.threads_max is None or (len(self.busy) < self.threads_max and not self.waiting):
            self.busy.append(actor)
            return
        waiter = self._scheduler.waiter()
        place = (actor, waiter)
        self.waiting.append(place)
        problem = NoThread(f"all {self.threads_max} threads of the {self.name} are busy")
        timer = None
        if seconds_max is not None and self._clock is not None:
            timer = self._clock.call_later(seconds_max, lambda: waiter.fail(problem))
        try:
            await waiter
        except BaseException:
            if place in self.waiting:
                self.waiting.remove(place)
            else:  # a thread came in the same moment: it is not wanted any more
                self._release(actor)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def give_back(self) -> None:
        """The current actor's thread is free again; whoever waits longest gets it."""
        self._release(current_actor.get())

    def _release(self, actor: Actor) -> None:
        self.busy.remove(actor)
        if self.waiting:
            next_actor, waiter = self.waiting.popleft()
            self.busy.append(next_actor)
            waiter.wake()
