"""Messages on a short way: acknowledged once they are in a mailbox, written to the spool if that takes too long.

A message that conversion takes up at once needs no spool file: its sender waits for the commit that puts it into the
mailboxes, and that is its promise. One sync, which many messages share, instead of three. When it is not there after
`spool_after_seconds` (conversion is busy, or jammed) it is written to `In` and acknowledged then, and so is one that
cannot be delivered now. So whatever was acknowledged is in a mailbox or in `In`; what is here was promised to nobody.

While messages wait in `In` and none gets any further, new ones go there without a pause: see `HeldMail.takes`.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING

from protocols.ports import Unavailable

from .spool import Envelope, Spool

if TYPE_CHECKING:
    from protocols.ports import Clock, Handle

    from .scheduling import Scheduler, Waiter


class State(Enum):
    """Where a held message is."""

    WAITING = auto()
    """In the queue or in conversion."""
    CLAIMED = auto()
    """On its way into mailboxes: only the disk can keep it from there."""
    WRITING = auto()
    """On its way into `In`."""
    SAFE = auto()
    """In a mailbox, or in `In`."""
    WITHDRAWN = auto()
    """Its sender was told that it is not taken."""


class _Held:
    __slots__ = ("due", "envelope", "octets", "overdue", "problem", "state", "waiters")

    def __init__(self, envelope: Envelope, octets: bytes, due: float) -> None:
        self.envelope = envelope
        self.octets = octets
        self.due = due
        """When it is to be written to `In`, in monotonic seconds."""
        self.state = State.WAITING
        self.overdue = False
        self.problem = ""
        self.waiters: list[Waiter] = []

    def become(self, state: State) -> None:
        self.state = state
        self.wake()

    def wake(self) -> None:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.wake()

    def be_overdue(self) -> None:
        self.overdue = True
        self.wake()


class HeldMail:
    """The messages that are neither in `In` nor in a mailbox, by the names that they would have in `In`."""

    def __init__(self, scheduler: Scheduler, clock: Clock, spool: Spool, seconds_max: float) -> None:
        """`seconds_max`: after so long a message is written to `In`; 0: none is held."""
        self._scheduler = scheduler
        self._clock = clock
        self._spool = spool
        self._seconds_max = seconds_max if spool.durable else 0.0
        self._held: dict[str, _Held] = {}
        self._by_due: deque[_Held] = deque()
        """Those that may become overdue, and some that no longer can, in order of arrival."""
        self._timer: Handle | None = None
        """For the first of them: most are gone before, and need no timer of their own."""
        self._progress_at = float("-inf")
        """When a message was last delivered, in monotonic seconds."""

    def takes(self, unsettled: int) -> bool:
        """Whether to hold a new message, when so many are on their way with it.

        Not while others wait in `In` and nothing was delivered for some time: what stands still is not a short way.
        """
        if self._seconds_max <= 0:
            return False
        nobody_waits = unsettled <= len(self._held) + 1
        return nobody_waits or self._clock.monotonic() - self._progress_at < self._seconds_max

    def take(self, envelope: Envelope, octets: bytes) -> str:
        """Hold a message: its name. The caller queues it, then waits for `safe`."""
        name = self._spool.draw()
        self._held[name] = _Held(envelope, octets, self._clock.monotonic() + self._seconds_max)
        return name

    async def safe(self, name: str) -> None:
        """Wait until the message is in a mailbox or in `In`. Raises Unavailable: it is nowhere, and not taken."""
        held = self._held[name]
        self._by_due.append(held)
        self._look_for_overdue()
        while held.state is not State.SAFE and held.state is not State.WITHDRAWN:
            if held.state is State.WAITING and held.overdue:
                await self._write(name, held)
            else:
                await self._change(held)
        if held.state is State.WITHDRAWN:
            raise Unavailable(held.problem)

    def _look_for_overdue(self) -> None:
        """Be called when the first of those that wait is overdue."""
        by_due = self._by_due
        while by_due and (by_due[0].state is not State.WAITING or by_due[0].overdue):
            by_due.popleft()
        if self._timer is None and by_due:
            self._timer = self._clock.call_later(by_due[0].due - self._clock.monotonic(), self._some_are_due)

    def _some_are_due(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for held in self._by_due:
            if held.due > now:
                break
            held.be_overdue()
        self._look_for_overdue()

    async def _change(self, held: _Held) -> None:
        waiter = self._scheduler.waiter()
        held.waiters.append(waiter)
        await waiter

    async def _write(self, name: str, held: _Held) -> None:
        held.become(State.WRITING)
        try:
            await self._spool.keep(name, held.envelope, held.octets)
        except BaseException as error:
            held.problem = str(error)
            held.become(State.WITHDRAWN)
            if not isinstance(error, Unavailable):
                raise
        else:
            del self._held[name]
            held.become(State.SAFE)

    # --- called by the workers ----------------------------------------------------------------------------------------

    def holds(self, name: str) -> bool:
        """Whether a message is here and not in `In`."""
        return name in self._held

    def read(self, name: str) -> tuple[Envelope, bytes] | None:
        """A message, or None when it is to be read from `In`. Raises FileNotFoundError: it was withdrawn."""
        held = self._held.get(name)
        if held is None:
            return None
        if held.state is State.WITHDRAWN:
            raise FileNotFoundError(name)
        return held.envelope, held.octets

    async def claim(self, name: str) -> None:
        """The message is converted and goes into mailboxes now: from here on only the disk can stop it.

        Waits while it is being written to `In`. Raises FileNotFoundError: it was withdrawn.
        """
        held = self._held.get(name)
        if held is None:
            return
        while held.state is State.WRITING:
            await self._change(held)
        if held.state is State.WITHDRAWN:
            raise FileNotFoundError(name)
        if held.state is State.WAITING:
            held.state = State.CLAIMED

    async def secure(self, name: str) -> bool:
        """The message cannot be delivered now: write it to `In`. False: even that failed, and it was withdrawn."""
        held = self._held.get(name)
        if held is None:
            return True
        if held.state in (State.WAITING, State.CLAIMED):
            await self._write(name, held)
        while held.state is State.WRITING:
            await self._change(held)
        return held.state is State.SAFE

    def let_go(self, name: str) -> bool:
        """The message is delivered, or was withdrawn: whether it was here, so that there is nothing in `In`."""
        self._progress_at = self._clock.monotonic()
        held = self._held.pop(name, None)
        if held is None:
            return False
        if held.state is not State.WITHDRAWN:
            held.become(State.SAFE)
        return True

    def clear(self) -> None:
        """The process has ended: nobody was promised what is here."""
        for held in tuple(self._held.values()):
            held.problem = "the service has ended"
            held.become(State.WITHDRAWN)
        self._held.clear()
        self._by_due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
