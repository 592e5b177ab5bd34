"""Who is at work: the name under which a task appears in graphs, reports and logs.

Every task that may enter a critical section is an actor: a protocol session, an inbound worker, a gateway, the
directory-notification thread. Reports name actors in words (`imap-3 alice FETCH 1 BODY[]`), never by object address.
"""

from __future__ import annotations

from contextvars import ContextVar
from itertools import count
from typing import Any

_numbers: dict[str, count[int]] = {}


class Actor:
    """One task, named for people.

    `kind` and `number` make the fixed part (`imap-3`), `user` and `doing` follow the dialogue. `holding` and
    `waiting_for` are kept by `emulator.sections` and make the wait-for graph.
    """

    __slots__ = ("doing", "holding", "kind", "number", "stack_of", "user", "waiting_for", "waiting_since")

    def __init__(self, kind: str, number: int | None = None, *, user: str = "", doing: str = "") -> None:
        self.kind = kind
        self.number = next(_numbers.setdefault(kind, count(1))) if number is None else number
        self.user = user
        self.doing = doing
        self.holding: list[Any] = []
        self.waiting_for: Any = None
        self.waiting_since: float = 0.0
        # The task or coroutine whose await stack a report prints; set by whoever drives the actor.
        self.stack_of: Any = None

    @property
    def name(self) -> str:
        """The fixed part of the name, `imap-3`: what gates and schedules refer to."""
        return f"{self.kind}-{self.number}"

    def __str__(self) -> str:
        return " ".join(part for part in (self.name, self.user, self.doing) if part)

    def __repr__(self) -> str:
        return f"<Actor {self}>"


NOBODY = Actor("nobody", 0)

current_actor: ContextVar[Actor] = ContextVar("current_actor", default=NOBODY)
