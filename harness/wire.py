"""Schedules on real sockets: every participant of a running server stops at its points, one at a time goes on.

The controller is the hook of the server's scheduler. A participant that reaches a point is held there until *all* live
participants stand at a point or have ended; only then is one chosen. So the kernel decides when somebody arrives, never
who goes first: the same tape gives the same order of operations and the same verdict. Not under control: the order of
what has no point, the timing of packets, other processes.

The vocabulary is the explorer's (harness.world): the same participants, the same points, the same rule that `X.wanted`
is possible while the section is free. What the explorer finds, the wire shows; a program that does something else is
DIVERGED, a participant that does not arrive in time INCONCLUSIVE, and with fewer than two nothing is claimed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator.scheduling import Point
from emulator.sections import describe_cycle
from emulator.server import Server
from harness.participants import request_point
from protocols.actor import Actor

STALL_SECONDS_MAX = 5.0
"""How long a participant that was let go may take to its next point."""

JAM, DONE, DIVERGED, INCONCLUSIVE = "jam", "done", "diverged", "inconclusive"

Picker = Callable[[list[int], int], int]
"""Chooses among the participants that can go on; the second argument is who went last (-1: nobody)."""


class Diverged(Exception):
    """The server did something else than the tape says; the text says what and where."""


@dataclass(slots=True)
class WireOutcome:
    """How one schedule ended on real sockets."""

    kind: str
    tape: list[tuple[int, str]]
    """(participant, point) of each step that was granted."""
    detail: str = ""
    cycle: tuple[str, ...] = ()
    """The edges of the wait-for graph, in words, when it jammed."""


@dataclass(slots=True)
class Role:
    """A participant as the controller sees it."""

    index: int
    kind: str
    request: Callable[[], Awaitable[None]]
    """Sends the participant's request and returns when it has been served."""
    actor: Actor | None = None
    point: Point | None = None
    """Where it stands; None: it runs, or has ended."""
    opened: asyncio.Future[None] | None = None
    task: asyncio.Task[None] | None = None
    ended: bool = False


class Controller:
    """Runs one schedule after another on one server. `identify` finds the participant of an actor, or None."""

    def __init__(self, server: Server, identify: Callable[[Actor], int | None]) -> None:
        self._server = server
        self._sections = server.sections
        self._identify = identify
        self._roles: list[Role] = []
        self._pick: Picker = lambda enabled, last: enabled[0]
        self._running = 0
        self._last = -1
        self._active = False
        self._tape: list[tuple[int, str]] = []
        self._ending: asyncio.Future[tuple[str, str]] | None = None
        self._moves = 0

    def install(self) -> None:
        """Become the hook of the server's scheduler."""
        self._server.scheduler.hook = self._reach

    # --- one schedule -------------------------------------------------------------------------------------------------

    async def run(self, roles: Sequence[Role], pick: Picker) -> WireOutcome:
        """Run a schedule to its end. A jam is left as it is, un-gated: the sections really are waited for."""
        loop = asyncio.get_running_loop()
        self._roles = list(roles)
        self._pick = pick
        self._tape = []
        self._last = -1
        self._active = True
        self._ending = loop.create_future()
        for role in roles:
            role.point = request_point(role.kind)
        self._running = 0
        watchdog = loop.call_later(STALL_SECONDS_MAX, self._look_for_stall, -1)
        try:
            self._go_on()
            kind, detail = await self._ending
        finally:
            watchdog.cancel()
            self._active = False
            self._open_all()
        cycle: tuple[str, ...] = ()
        if kind == JAM:
            kind, detail, cycle = await self._confirm()
        return WireOutcome(kind, self._tape, detail, cycle)

    def _reach(self, actor: Actor, point: Point) -> Awaitable[None] | None:
        if not self._active or point.kind == "stage":
            return None
        index = self._identify(actor)
        if index is None:
            return None
        role = self._roles[index]
        if role.point is not None or role.ended:
            self._end(INCONCLUSIVE, f"{actor} is at {point.name} while it stands at another point or has ended")
            return None
        role.actor, role.point = actor, point
        self._running -= 1
        self._moves += 1
        if self._running == 0:
            chosen = self._choose()
            if chosen is role:  # it goes on without having stopped
                role.point = None
                self._running = 1
                return None
            opened = role.opened = asyncio.get_running_loop().create_future()
            if chosen is not None:
                self._let_go(chosen)
            return _stand(opened)
        opened = role.opened = asyncio.get_running_loop().create_future()
        return _stand(opened)

    def _served(self, role: Role, error: BaseException | None) -> None:
        """The participant's request has been served: it has ended."""
        if not self._active or role.ended:
            return
        role.ended = True
        self._moves += 1
        if error is not None:
            self._end(INCONCLUSIVE, f"participant {role.index} ({role.kind}) failed: {error!r}")
            return
        if role.point is not None:
            self._end(INCONCLUSIVE, f"{role.kind} was served while it stood at {role.point.name}")
            return
        self._running -= 1
        if self._running == 0:
            self._go_on()

    def _go_on(self) -> None:
        chosen = self._choose()
        if chosen is not None:
            self._let_go(chosen)

    def _choose(self) -> Role | None:
        """Whose turn it is; None when nobody's, and then the schedule has ended."""
        standing = [role for role in self._roles if role.point is not None]
        if not standing:
            self._end(DONE, "")
            return None
        enabled = [role.index for role in standing if self._can_go(role)]
        if not enabled:
            self._end(JAM, "")
            return None
        try:
            index = self._pick(enabled, self._last)
        except Diverged as error:
            self._end(DIVERGED, str(error))
            return None
        self._last = index
        role = self._roles[index]
        assert role.point is not None
        self._tape.append((index, role.point.name))
        return role

    def _can_go(self, role: Role) -> bool:
        assert role.point is not None
        if role.point.kind != "acquire":
            return True
        owner = self._sections[role.point.target.removeprefix("section:")].owner
        return owner is None or owner is role.actor

    def _let_go(self, role: Role) -> None:
        role.point = None
        self._running = 1
        if role.opened is not None:
            opened, role.opened = role.opened, None
            if not opened.done():
                opened.set_result(None)
            return
        task = role.task = asyncio.get_running_loop().create_task(_serve(role))
        task.add_done_callback(lambda done: self._served(role, _error_of(done)))

    def _end(self, kind: str, detail: str) -> None:
        if self._ending is not None and not self._ending.done():
            self._ending.set_result((kind, detail))

    def _open_all(self) -> None:
        for role in self._roles:
            if role.opened is not None and not role.opened.done():
                role.opened.set_result(None)
            role.opened = None

    def _look_for_stall(self, moves: int) -> None:
        if not self._active:
            return
        if moves == self._moves:
            where = ", ".join(
                f"{role.kind} {'ended' if role.ended else f'at {role.point.name}' if role.point else 'runs'}"
                for role in self._roles
            )
            self._end(INCONCLUSIVE, f"nothing moved for {STALL_SECONDS_MAX:g} s: {where}")
            return
        asyncio.get_running_loop().call_later(STALL_SECONDS_MAX, self._look_for_stall, self._moves)

    async def _confirm(self) -> tuple[str, str, tuple[str, ...]]:
        """All have been let go: see that those who stood really wait for sections now."""
        waiting = [role for role in self._roles if not role.ended and role.actor is not None]
        for _ in range(100):
            if all(role.actor is not None and role.actor.waiting_for is not None for role in waiting):
                break
            await asyncio.sleep(0)
        else:
            return INCONCLUSIVE, "the participants went on when they were let go", ()
        cycles = self._sections.cycles()
        edges = cycles[0] if cycles else self._sections.waits()
        return JAM, "a cycle" if cycles else "an owner that does not leave", tuple(describe_cycle(edges))


async def _stand(opened: asyncio.Future[None]) -> None:
    await opened


async def _serve(role: Role) -> None:
    await role.request()


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


@dataclass(slots=True)
class Follow:
    """Follows a tape strictly. Raises Diverged at the first step that does not fit."""

    tape: Sequence[tuple[int, str]]
    points: Callable[[int], str]
    """Where a participant stands now."""
    step: int = 0
    last: tuple[Any, ...] = field(default=())

    def __call__(self, enabled: list[int], last: int) -> int:
        if self.step >= len(self.tape):
            raise Diverged(f"the tape has ended after {self.step} steps, but participants {enabled} can go on")
        index, point = self.tape[self.step]
        if index not in enabled:
            raise Diverged(f"step {self.step + 1}: participant {index} cannot go on at {self.points(index)}")
        there = self.points(index)
        if there != point:
            raise Diverged(f"step {self.step + 1}: participant {index} is at {there}, the tape says {point}")
        self.step += 1
        return index
