"""Sessions keep to the pace of the inbound workers: they wait while these lag behind, as long as they get on.

Without it a fast client fills the queue up to its limit and is told 452, though nothing is wrong. A queue that stands
still makes nobody wait: then messages are accepted up to the limit, as the original accepted them in a jam.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocols.ports import Clock

    from .scheduling import Scheduler, Waiter

STANDSTILL_SECONDS = 0.25
"""When no message has left the queue for so long, nobody waits for the next."""
WAITING_MAX = 256
"""So many messages may wait for conversion before sessions do."""


class Pace:
    """Who waits until fewer messages await conversion."""

    def __init__(self, scheduler: Scheduler, clock: Clock, queue_messages_max: int) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._waiting_max = max(1, min(WAITING_MAX, queue_messages_max // 4))
        self._waiters: deque[Waiter] = deque()
        self._moved_at = float("-inf")
        """When a message last left the queue, in monotonic seconds."""

    async def keep(self, waiting: int) -> None:
        """Before one more message is accepted, when so many await conversion: let the workers catch up."""
        if waiting < self._waiting_max or self._stands_still():
            return
        waiter = self._scheduler.waiter()
        if not self._waiters:
            self._watch()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:  # its session was cancelled
                self._waiters.remove(waiter)

    def moved(self, waiting: int) -> None:
        """A message has left the queue, in which so many are left."""
        self._moved_at = self._clock.monotonic()
        if self._waiters and waiting < self._waiting_max:
            self._waiters.popleft().wake()

    def _stands_still(self) -> bool:
        return self._clock.monotonic() - self._moved_at >= STANDSTILL_SECONDS

    def _watch(self) -> None:
        self._clock.call_later(STANDSTILL_SECONDS, self._look)

    def _look(self) -> None:
        if not self._waiters:
            return
        if not self._stands_still():
            self._watch()
            return
        while self._waiters:
            self._waiters.popleft().wake()
