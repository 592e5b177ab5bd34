"""A clock that can be advanced: thirty minutes pass in a millisecond, and every deadline in them is kept, in order."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count


class Timer:
    """A call that can still be called off; `when` is in the clock's monotonic seconds."""

    __slots__ = ("_callback", "_clock", "_deadline", "_handle")

    def __init__(self, clock: AdvancingClock, deadline: float, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._deadline = deadline
        self._callback: Callable[[], None] | None = callback
        self._handle: asyncio.TimerHandle | None = None

    def when(self) -> float:
        """When it is due."""
        return self._deadline

    def cancel(self) -> None:
        """Call it off."""
        self._callback = None
        if self._handle is not None:
            self._handle.cancel()
        self._clock.forget(self)

    def arm(self) -> None:
        """Have the event loop call it when it is due in real time."""
        if self._handle is not None:
            self._handle.cancel()
        delay = max(0.0, self._deadline - self._clock.monotonic())
        self._handle = asyncio.get_running_loop().call_later(delay, self.fire)

    def fire(self) -> None:
        """It is due."""
        callback, self._callback = self._callback, None
        if self._handle is not None:
            self._handle.cancel()
        self._clock.forget(self)
        if callback is not None:
            callback()


class AdvancingClock:
    """Real time and what was added to it. Fulfils `protocols.ports.Clock`."""

    def __init__(self) -> None:
        self.offset = 0.0
        """Seconds that were added so far."""
        self._timers: set[Timer] = set()
        self._order = count()

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.offset

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic() + self.offset

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call when so many seconds have passed, be it that they are added."""
        timer = Timer(self, self.monotonic() + seconds, callback)
        self._timers.add(timer)
        timer.arm()
        return timer

    def forget(self, timer: Timer) -> None:
        """It was called, or called off."""
        self._timers.discard(timer)

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: None if passed.done() else passed.set_result(None))
        try:
            await passed
        finally:
            timer.cancel()

    async def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0) -> None:
        """Let time pass now: what falls due is called in its order, and gets a few turns of the loop to act.

        Raises ValueError: time does not go back.
        """
        seconds += minutes * 60 + hours * 3600
        if seconds < 0:
            raise ValueError("time does not go back: advance by a positive number")
        target = self.monotonic() + seconds
        while True:
            due = [(timer.when(), next(self._order), timer) for timer in self._timers if timer.when() <= target]
            if not due:
                break
            heapq.heapify(due)
            when, _, timer = due[0]
            self.offset += max(0.0, when - self.monotonic())
            timer.fire()
            for _ in range(5):
                await asyncio.sleep(0)
        self.offset += max(0.0, target - self.monotonic())
        for timer in tuple(self._timers):
            timer.arm()
