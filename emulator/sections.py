"""Critical sections: named, ranked, owned; and the wait-for graph that they make.

Modelled on Windows NT's CRITICAL_SECTION: the owner may enter again, waiters are served in order of arrival, nothing
times out. A wrong order is possible (that is the product) and always recorded. Nothing here breaks a deadlock: the
graph is only looked at.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from protocols.actor import Actor, current_actor

from .events import Bus, OrderViolated, SectionBlocked
from .scheduling import Point, Scheduler, Waiter


class NotOwner(RuntimeError):
    """A section was left by an actor that does not own it: a defect of the caller."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One edge of the wait-for graph: `waiter` wants `section`, which `owner` holds."""

    waiter: Actor
    section: CriticalSection
    owner: Actor

    def __str__(self) -> str:
        return f"{self.waiter} waits for {self.section.name}, held by {self.owner}"


class CriticalSection:
    """Mutual exclusion between actors, re-entrant for its owner."""

    __slots__ = (
        "_bus",
        "_scheduler",
        "_waiters",
        "contended",
        "depth",
        "entered",
        "held_since",
        "name",
        "owner",
        "purpose",
        "rank",
    )

    def __init__(self, name: str, rank: int, scheduler: Scheduler, bus: Bus, *, purpose: str = "") -> None:
        self.name = name
        self.rank = rank
        self.purpose = purpose
        self.owner: Actor | None = None
        self.depth = 0
        self.held_since = 0.0
        """Monotonic seconds (`Scheduler.now`); meaningful while there is an owner."""
        self.entered = 0
        self.contended = 0
        self._scheduler = scheduler
        self._bus = bus
        self._waiters: deque[tuple[Actor, Waiter]] = deque()

    @property
    def waiters(self) -> tuple[Actor, ...]:
        """Who waits, in order of arrival."""
        return tuple(actor for actor, _ in self._waiters)

    async def enter(self) -> None:
        """Wait until the current actor owns the section.

        A cancelled wait leaves no trace; one that was granted the section as it was cancelled passes it on.
        """
        actor = current_actor.get()
        if self.owner is actor:
            self.depth += 1
            return
        if actor.holding:
            self._record_order(actor)
        if self.owner is None:
            self._grant(actor)
            return
        waiter = self._scheduler.waiter()
        entry = (actor, waiter)
        self._waiters.append(entry)
        self.contended += 1
        actor.waiting_for, actor.waiting_since = self, self._scheduler.now()
        if self._bus.wanted(SectionBlocked):
            self._bus.publish(SectionBlocked(actor, self))
        try:
            await waiter
        except BaseException:
            if self.owner is actor:
                self.leave()
            else:
                self._waiters.remove(entry)
            raise
        finally:
            actor.waiting_for = None

    def leave(self) -> None:
        """Give the section up; the longest waiting actor owns it from this moment.

        Raises NotOwner for anybody but the owner.
        """
        owner, caller = self.owner, current_actor.get()
        if owner is not caller:
            raise NotOwner(f"{caller} leaves {self.name}, which {owner or 'nobody'} owns")
        if self.depth > 1:
            self.depth -= 1
            return
        owner.holding.remove(self)
        self.owner = None
        if self._waiters:
            actor, waiter = self._waiters.popleft()
            actor.waiting_for = None  # at once: it will run later, and the graph is looked at before
            self._grant(actor)
            waiter.wake()

    def refuse(self, actor: Actor, error: Exception) -> bool:
        """End an actor's wait with an error; False where it does not wait here.

        No part of the emulated system does this. It is how the laboratory ends a jam without ending the process.
        """
        for waiting, waiter in self._waiters:
            if waiting is actor:
                waiter.fail(error)
                return True
        return False

    def _grant(self, actor: Actor) -> None:
        self.owner = actor
        self.depth = 1
        self.entered += 1
        self.held_since = self._scheduler.now()
        actor.holding.append(self)

    def _record_order(self, actor: Actor) -> None:
        for held in actor.holding:
            if held.rank > self.rank:
                self._bus.publish(OrderViolated(actor, held.name, self.name))
                return

    def __repr__(self) -> str:
        return f"<CriticalSection {self.name} owner={self.owner} waiters={len(self._waiters)}>"


Points = tuple[Point, Point, Point]
"""Wanted, held, leaving."""


class Passage:
    """Sections on the way through the conversion stage, held together. Made by `Sections.path`."""

    __slots__ = ("_entered", "_leaks", "_scheduler", "_steps")

    def __init__(
        self,
        scheduler: Scheduler,
        steps: Sequence[tuple[CriticalSection, Points]],
        leaks: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._scheduler = scheduler
        self._steps = steps
        self._leaks = leaks
        self._entered = 0

    async def __aenter__(self) -> None:
        reach = self._scheduler.reach
        try:
            for section, (wanted, held, _) in self._steps:
                await reach(wanted)
                await section.enter()
                self._entered += 1
                await reach(held)
        except BaseException:
            self._leave_all()
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            while kind is None and self._entered:
                section, (_, _, leaving) = self._steps[self._entered - 1]
                await self._scheduler.reach(leaving)
                self._entered -= 1
                section.leave()
        finally:
            # An early return without LeaveCriticalSection (KB Q259541), a thread that died inside (KB Q195971)
            if kind is None or not self._leaks or not issubclass(kind, self._leaks):
                self._leave_all()

    def _leave_all(self) -> None:
        """An exception passes: nothing may suspend here."""
        while self._entered:
            self._entered -= 1
            self._steps[self._entered][0].leave()


class Sections:
    """All critical sections of one information store, and the graph of who waits for whom."""

    def __init__(self, scheduler: Scheduler, bus: Bus, ranks: dict[str, int], purposes: dict[str, str]) -> None:
        self._scheduler = scheduler
        self._points: dict[tuple[str, str], Points] = {}
        self._steps: dict[tuple[str, tuple[str, ...]], tuple[tuple[CriticalSection, Points], ...]] = {}
        self._sections = {
            name: CriticalSection(name, rank, scheduler, bus, purpose=purposes.get(name, ""))
            for name, rank in ranks.items()
        }
        self.violations: Counter[tuple[str, str, str]] = Counter()
        """How often (kind of actor, held, wanted) broke the global order."""
        bus.on(OrderViolated, self._count_violation)

    def _count_violation(self, event: OrderViolated) -> None:
        self.violations[event.actor.kind, event.held, event.wanted] += 1

    def __getitem__(self, name: str) -> CriticalSection:
        return self._sections[name]

    def __iter__(self) -> Iterator[CriticalSection]:
        return iter(self._sections.values())

    def path(self, path: str, order: tuple[str, ...], leaks: tuple[type[BaseException], ...] = ()) -> Passage:
        """`async with`: hold the named sections, entered in the given order, left in the opposite one.

        On an error of the kinds in `leaks` they are not left: the defect of a path, named by its build.

        Before each entry stands the point `PATH.SECTION.wanted`, after it `PATH.SECTION.held`, before each leaving
        `PATH.SECTION.leaving`.
        """
        steps = self._steps.get((path, order))
        if steps is None:
            steps = tuple((self._sections[name], self._points_of(path, name)) for name in order)
            self._steps[path, order] = steps
        return Passage(self._scheduler, steps, leaks)

    def _points_of(self, path: str, name: str) -> Points:
        points = self._points.get((path, name))
        if points is None:
            target = f"section:{name}"
            points = (
                Point(f"{path}.{name}.wanted", "acquire", target),
                Point(f"{path}.{name}.held", "stage", target),
                Point(f"{path}.{name}.leaving", "release", target),
            )
            self._points[path, name] = points
        return points

    def waits(self) -> list[Wait]:
        """All edges of the wait-for graph now."""
        return [
            Wait(actor, section, section.owner)
            for section in self
            if section.owner is not None
            for actor in section.waiters
        ]

    def cycle_from(self, actor: Actor) -> list[Wait]:
        """The cycle that `actor` is part of or waits behind: its edges in order, or an empty list.

        Each actor waits for at most one section and each section has one owner, so following the chain is enough:
        linear in the number of actors.
        """
        chain: list[Wait] = []
        seen: dict[int, int] = {}
        while True:
            if id(actor) in seen:
                return chain[seen[id(actor)] :]
            section = actor.waiting_for
            if section is None or section.owner is None:
                return []
            seen[id(actor)] = len(chain)
            chain.append(Wait(actor, section, section.owner))
            actor = section.owner

    def cycles(self) -> list[list[Wait]]:
        """Every cycle in the graph, each once."""
        found: dict[frozenset[int], list[Wait]] = {}
        for wait in self.waits():
            cycle = self.cycle_from(wait.waiter)
            if cycle:
                found[frozenset(id(edge.waiter) for edge in cycle)] = cycle
        return list(found.values())


def describe_cycle(cycle: Iterable[Wait]) -> list[str]:
    """One line for each edge of a cycle, for people."""
    return [str(wait) for wait in cycle]
