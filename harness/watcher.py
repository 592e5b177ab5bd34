"""The watcher sees that a running system is jammed, and says so. It never breaks a jam; without it the system jams too.

Four findings: a cycle in the wait-for graph (looked for at every block, so it is named as it closes), no progress (a
queue that does not move), a blocked event loop, and a stop that does not end.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from emulator.events import SectionBlocked, ServiceStateChanged
from emulator.sections import Wait
from emulator.server import Server
from protocols.actor import Actor


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge of a wait-for graph as it was: in words, and with the actors for whoever wants their stacks."""

    waiter: str
    section: str
    owner: str
    waiter_actor: Actor = field(compare=False, repr=False)
    owner_actor: Actor = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.waiter} waits for {self.section}, held by {self.owner}"


@dataclass(frozen=True, slots=True)
class Jam:
    """A cycle of actors, each waiting for the next."""

    cycle: tuple[Edge, ...]
    seen_at: float
    """Monotonic seconds."""
    seconds_after_closing: float
    """Between the wait that closed the cycle and this record."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.cycle))


@dataclass(frozen=True, slots=True)
class Stalled:
    """Work is there and none was done for `seconds`."""

    queue: str
    length: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LoopBlocked:
    """The event loop did not come round for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class StopHung:
    """A service has been in `stop pending` for `seconds`; `waiting` are the actors that it waits for."""

    service: str
    seconds: float
    waiting: tuple[str, ...]


def edge_of(wait: Wait) -> Edge:
    """The edge in words."""
    return Edge(str(wait.waiter), wait.section.name, str(wait.owner), wait.waiter, wait.owner)


class Watcher:
    """Watches one server from within its own loop. `async with Watcher(server) as watcher:`."""

    def __init__(
        self,
        server: Server,
        *,
        interval_seconds: float = 0.25,
        stalled_seconds: float = 2.0,
        blocked_seconds: float = 0.5,
    ) -> None:
        self._server = server
        self._interval = interval_seconds
        self._stalled_seconds = stalled_seconds
        self._blocked_seconds = blocked_seconds
        self.jams: list[Jam] = []
        self.findings: list[Any] = []
        """Stalled, LoopBlocked and StopHung, each once while it lasts."""
        self._jammed = asyncio.Event()
        self._seen: set[frozenset[int]] = set()
        self._task: asyncio.Task[None] | None = None
        self._stalls: set[str] = set()
        self._hung: set[str] = set()
        self._progress: tuple[int, int] = (0, 0)
        self._progress_at = 0.0

    async def __aenter__(self) -> Self:
        bus = self._server.bus
        bus.on(SectionBlocked, self._blocked)
        bus.on(ServiceStateChanged, self._service_changed)
        self._progress_at = time.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._look(), name="watcher")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        bus = self._server.bus
        bus.off(SectionBlocked, self._blocked)
        bus.off(ServiceStateChanged, self._service_changed)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def wait_for_jam(self, seconds_max: float) -> Jam:
        """The first jam. Raises TimeoutError."""
        async with asyncio.timeout(seconds_max):
            await self._jammed.wait()
        return self.jams[0]

    def _blocked(self, event: SectionBlocked) -> None:
        cycle = self._server.sections.cycle_from(event.actor)
        if not cycle:
            return
        key = frozenset(id(wait.waiter) for wait in cycle)
        if key in self._seen:
            return
        self._seen.add(key)
        now = self._server.scheduler.now()
        closed_at = max(wait.waiter.waiting_since for wait in cycle)
        self.jams.append(Jam(tuple(map(edge_of, cycle)), now, now - closed_at))
        self._jammed.set()

    def _service_changed(self, event: ServiceStateChanged) -> None:
        self._hung.discard(event.service)

    async def _look(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(self._interval)
            late = time.monotonic() - before - self._interval
            if late > self._blocked_seconds:
                self.findings.append(LoopBlocked(late))
            self._look_at_queues()
            self._look_at_services()

    def _look_at_queues(self) -> None:
        server, now = self._server, time.monotonic()
        progress = (server.converter.inbound_count, server.converter.outbound_count)
        waiting = {name: length for name, length in server.queue_lengths().items() if length}
        if progress != self._progress or not waiting:
            self._progress, self._progress_at = progress, now
            self._stalls.clear()
        elif now - self._progress_at > self._stalled_seconds:
            for name, length in waiting.items():
                if name not in self._stalls:
                    self._stalls.add(name)
                    self.findings.append(Stalled(name, length, now - self._progress_at))

    def _look_at_services(self) -> None:
        for finding in hung_stops(self._server):
            if finding.service not in self._hung:
                self._hung.add(finding.service)
                self.findings.append(finding)


def hung_stops(server: Server) -> list[StopHung]:
    """Services that have been in `stop pending` for longer than `stop_seconds_max`."""
    found = []
    for service in server.control.services.values():
        seconds = server.scheduler.now() - service.since
        if service.state.value == "stop pending" and seconds > server.settings.stop_seconds_max:
            waiting = tuple(str(wait) for wait in server.sections.waits())
            found.append(StopHung(service.name, seconds, waiting))
    return found
