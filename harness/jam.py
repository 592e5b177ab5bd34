"""`mailjam serve --jam q279798 [--after N]`: a server that goes into the jam by itself, with its own traffic.

Nothing is faked and nobody sleeps: two gates hold the first conversion in each direction that comes after N delivered
messages, as soon as it is inside its first section; when both stand there, they are let go. A build with the defect is
jammed from then on, one without it goes on as if nothing had been. Until both have come (somebody reads while mail
comes in), conversions in the gated direction wait at the gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from emulator.events import MessageDelivered, SectionBlocked
from emulator.scheduling import Point
from emulator.server import Server
from harness.scenario import ARTICLES, Article, find_article
from protocols.actor import Actor

PATHS: dict[str, tuple[str, str]] = {
    "q274403": ("notification", "inbound"),
    "q279798": ("inbound", "outbound"),
    "q295969": ("report", "gateway"),
}
"""The two paths whose meeting is the jam."""


@dataclass(slots=True)
class Trap:
    """A jam that is armed. `closed` is done when both sides have been let go."""

    server: Server
    article: Article
    after: int
    delivered: int = 0
    held: dict[str, tuple[Actor, Point]] = field(default_factory=dict)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)
    _hook: Callable[[Actor, Point], Awaitable[None] | None] | None = None

    def arm(self) -> None:
        """Begin to count and to hold; the hook that was there before still sees every other point."""
        self._hook = self.server.scheduler.hook
        self.server.scheduler.hook = self._reach
        self.server.bus.on(MessageDelivered, self._count)
        self.server.bus.on(SectionBlocked, self._blocked)

    def disarm(self) -> None:
        """Let go who is held and leave the server as it was."""
        self._opened.set()
        if self.server.scheduler.hook == self._reach:
            self.server.scheduler.hook = self._hook
        self.server.bus.off(MessageDelivered, self._count)
        self.server.bus.off(SectionBlocked, self._blocked)

    def _count(self, event: MessageDelivered) -> None:
        self.delivered += 1

    def _reach(self, actor: Actor, point: Point) -> Awaitable[None] | None:
        path = point.name.partition(".")[0]
        if (
            point.name.endswith(".held")
            and path in PATHS[self.article.name]
            and path not in self.held
            and self.delivered >= self.after
            and not self._opened.is_set()
        ):
            self.held[path] = (actor, point)
            return self._stand()
        return self._hook(actor, point) if self._hook is not None else None

    async def _stand(self) -> None:
        if len(self.held) == len(PATHS[self.article.name]):
            self._let_go()
        await self._opened.wait()

    def _blocked(self, event: SectionBlocked) -> None:
        """The second side waits for the section of the first: with one global order it gets no further than that."""
        if len(self.held) == 1 and any(event.section in actor.holding for actor, _ in self.held.values()):
            other = next(path for path in PATHS[self.article.name] if path not in self.held)
            if _is_on(event.actor, other, self.server):
                self._let_go()

    def _let_go(self) -> None:
        self._opened.set()
        self.closed.set()
        self.disarm()


def _is_on(actor: Actor, path: str, server: Server) -> bool:
    """Whether an actor that waits for its first section can be on that path."""
    inbound_only = actor.kind in ("inbound", "gateway")
    if path == "outbound":
        return not inbound_only and actor.kind not in ("notification", "report")
    return {"inbound": actor.kind in ("inbound", "imap", "nntp", "gateway")}.get(path, actor.kind == path)


def arm(server: Server, scenario: str = "q279798", after: int = 0) -> Trap:
    """Let a running server jam by itself after `after` delivered messages. Raises UnknownScenario.

    A server whose build lacks the defect is not jammed by it: `trap.article.defect in server.build.defects` tells.
    """
    trap = Trap(server, find_article(scenario), after)
    trap.arm()
    return trap


__all__ = ["ARTICLES", "Trap", "arm"]
