"""INPROGRESS (RFC 9585): a command that takes long says how far it is, so that the client does not give up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .names import quote

if TYPE_CHECKING:
    from .session import ImapSession

PROGRESS_SECONDS = 10.0
"""How long a client waits for a sign of life (RFC 9585 section 3 wants one each 10 to 15 seconds)."""


class Progress:
    """How far the command at hand is on its way through `goal` messages."""

    def __init__(self, session: ImapSession, goal: int) -> None:
        self.session = session
        self.goal = goal
        self._due = session.services.clock.monotonic() + PROGRESS_SECONDS

    async def rest(self, done: int) -> None:
        """Let other sessions have their turn; `done` of the messages have been looked at."""
        session = self.session
        clock = session.services.clock
        await clock.sleep(0)
        now = clock.monotonic()
        if now < self._due or not 0 < done < self.goal or "INPROGRESS" in session.settings.capabilities_hidden:
            return
        self._due = now + PROGRESS_SECONDS
        session.send(b"* OK [INPROGRESS (%b %d %d)] Searching\r\n" % (quote(session.tag), done, self.goal))
        await session.flush()
