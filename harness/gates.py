"""Gates: hold an actor at a named preemption point of a running server, wait until it stands there, let it go.

    gates = Gates(server.scheduler)
    gate = gates.hold("inbound.imail.held", actor="inbound")
    ...                                # traffic
    await gate.wait_until_held()
    gate.release()

No sleeps and no retries: an actor that matches stops exactly there, and nothing else changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase

from emulator.scheduling import AsyncioScheduler, Point
from protocols.actor import Actor


class Gate:
    """One place at which matching actors are held, until released; then it is open for good."""

    def __init__(self, gates: Gates, point: str, actor: str, count: int | None) -> None:
        self._gates = gates
        self._point = point
        self._actor = actor
        self._left = count
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held: list[tuple[Actor, Point]] = []
        """Who stands here now, and at which point."""
        self.passed = 0
        """How many were held here and let go."""

    def matches(self, actor: Actor, point: Point) -> bool:
        """Whether this gate would hold the actor at that point."""
        if self._left == 0 or self._opened.done():
            return False
        return fnmatchcase(point.name, self._point) and (
            fnmatchcase(actor.kind, self._actor) or fnmatchcase(actor.name, self._actor)
        )

    async def hold(self, actor: Actor, point: Point) -> None:
        """Called by the scheduler: stand here until the gate opens."""
        if self._left is not None:
            self._left -= 1
        self.held.append((actor, point))
        self._gates.changed()
        try:
            await asyncio.shield(self._opened)
        finally:
            self.held.remove((actor, point))
            self.passed += 1

    async def wait_until_held(self, count: int = 1, *, seconds_max: float = 10.0) -> Actor:
        """Wait until `count` actors stand here; the first of them. Raises TimeoutError with what was seen instead."""
        await self._gates.wait_until(
            lambda: len(self.held) >= count, seconds_max, f"{count} x {self._actor} at {self._point}"
        )
        return self.held[0][0]

    def release(self) -> None:
        """Let all go, and hold no one any more."""
        if not self._opened.done():
            self._opened.set_result(None)
        self._gates.remove(self)


class Gates:
    """All gates of one server. `close` takes them away and lets everybody go."""

    def __init__(self, scheduler: AsyncioScheduler) -> None:
        self._scheduler = scheduler
        self._gates: list[Gate] = []
        self._watchers: set[asyncio.Future[None]] = set()
        self.reached: list[tuple[str, str]] = []
        """The last points that were reached, (actor, point), at most 200: for the text of a timeout."""
        scheduler.hook = self._reach

    def hold(self, point: str, *, actor: str = "*", count: int | None = None) -> Gate:
        """A gate for a point and an actor's kind or name; both may be shell patterns. It holds `count` at most."""
        gate = Gate(self, point, actor, count)
        self._gates.append(gate)
        return gate

    def remove(self, gate: Gate) -> None:
        """Forget an opened gate."""
        if gate in self._gates:
            self._gates.remove(gate)

    def _reach(self, actor: Actor, point: Point) -> Awaitable[None] | None:
        self.reached.append((actor.name, point.name))
        if len(self.reached) > 200:
            del self.reached[:100]
        for gate in self._gates:
            if gate.matches(actor, point):
                return gate.hold(actor, point)
        return None

    def changed(self) -> None:
        """Something moved: whoever waits looks again."""
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)

    async def wait_until(self, condition: Callable[[], bool], seconds_max: float, what: str) -> None:
        """Wait until `condition()` holds; it is looked at whenever an actor is held or `changed` is called."""
        try:
            async with asyncio.timeout(seconds_max):
                while not condition():
                    watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._watchers.add(watcher)
                    try:
                        await watcher
                    finally:
                        self._watchers.discard(watcher)
        except TimeoutError:
            last = ", ".join(f"{actor} at {point}" for actor, point in self.reached[-8:]) or "no point was reached"
            raise TimeoutError(f"not within {seconds_max:g} s: {what}; last: {last}") from None

    def close(self) -> None:
        """Open all gates and leave the scheduler as it was."""
        for gate in tuple(self._gates):
            gate.release()
        self._scheduler.hook = None
