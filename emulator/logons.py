"""Logons to the information store: each takes a place (in the original a critical section) until the logoff.

The table is bounded. Builds with KB Q216259 do not give places back: after enough logons nobody gets in any more.
"""

from __future__ import annotations

from protocols.actor import Actor
from protocols.ports import SessionClosed, Unavailable

from .events import Bus


class Logons:
    """Who is logged on. A session has one place however often it logs on."""

    def __init__(self, bus: Bus, logons_max: int, *, frees: bool = True) -> None:
        self._logons_max = logons_max
        self._frees = frees
        self._actors: set[Actor] = set()
        bus.on(SessionClosed, self._closed)

    def __len__(self) -> int:
        return len(self._actors)

    def log_on(self, actor: Actor) -> None:
        """Take a place. Raises Unavailable when there is none (event 1160: database resource failure)."""
        if actor in self._actors:
            return
        if len(self._actors) >= self._logons_max:
            raise Unavailable("database resource failure: out of memory for another logon (event 1160)")
        self._actors.add(actor)

    def _closed(self, event: SessionClosed) -> None:
        if self._frees:
            self._actors.discard(event.actor)
