"""Live searches: RETURN (UPDATE) and CANCELUPDATE (CONTEXT=SEARCH, RFC 5267)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from protocols.ports import NoSuchMessage
from protocols.reply import Reply

from .errors import Bad
from .messages import selected
from .names import quote
from .records import search_records
from .scanner import Scanner
from .search_keys import Key, Loaded
from .sequence import format_set
from .states import COMMANDS, SELECTED
from .view import View

if TYPE_CHECKING:
    from .session import ImapSession

CONTEXTS_MAX = 16
"""Live searches of one session; a further one is answered with NOUPDATE."""


class Context:
    """A search whose result the client is kept informed of."""

    def __init__(self, tag: bytes, program: Key, found: Iterable[int], *, by_uid: bool) -> None:
        self.tag = tag
        self.program = program
        self.by_uid = by_uid
        self.matched = set(found)
        """UIDs that the client knows to match."""

    def line(self, word: bytes, view: View, uids: list[int]) -> bytes:
        """`* ESEARCH (TAG "a") UID ADDTO (0 5)`; the position is 0, for nothing was sorted."""
        numbers = uids if self.by_uid else [view.number_of(uid) for uid in uids]
        uid = b" UID" if self.by_uid else b""
        return b"* ESEARCH (TAG %b)%b %b (0 %b)\r\n" % (quote(self.tag), uid, word, format_set(numbers))

    def before_expunge(self, view: View, uids: Iterable[int]) -> bytes:
        """REMOVEFROM for messages that are about to lose their numbers."""
        gone = sorted(uid for uid in uids if uid in self.matched)
        if not gone:
            return b""
        self.matched.difference_update(gone)
        return self.line(b"REMOVEFROM", view, gone)

    async def refresh(self, session: ImapSession, view: View, messages: Iterable[Any]) -> bytes:
        """What changed in the result through these messages."""
        added, removed = [], []
        for message in messages:
            number = view.number_of(message.uid)
            if not number or message.expunged:
                continue
            try:
                now = await self._matches(session, number, message)
            except NoSuchMessage:
                continue
            if now and message.uid not in self.matched:
                added.append(message.uid)
            elif not now and message.uid in self.matched:
                removed.append(message.uid)
        self.matched.difference_update(removed)
        self.matched.update(added)
        out = self.line(b"REMOVEFROM", view, sorted(removed)) if removed else b""
        return out + (self.line(b"ADDTO", view, sorted(added)) if added else b"")

    async def _matches(self, session: ImapSession, number: int, message: Any) -> bool:
        loaded = None
        if self.program.level:
            loaded = Loaded(await search_records(session, message))
            if self.program.level > 1:
                loaded.octets, loaded.part = await session.services.conversion.structure(message)
        return self.program.test(number, message, loaded)


async def refresh_all(session: ImapSession, view: View) -> None:
    """Send what changed in the session's live searches."""
    dirty, view.dirty = view.dirty, {}
    for context in view.contexts.values():
        session.send(await context.refresh(session, view, dirty.values()))


def begin(session: ImapSession, view: View, program: Key, uids: Iterable[int], *, by_uid: bool) -> None:
    """Keep a search alive, or tell the client that it will not be (RFC 5267 section 4.3). Raises Bad."""
    if session.tag in view.contexts:
        raise Bad("there is a live search of that tag")
    if len(view.contexts) >= CONTEXTS_MAX or program.numbers is not None:
        session.send(session.no_update())
        return
    view.contexts[session.tag] = Context(session.tag, program, uids, by_uid=by_uid)


def cancel_syntax(scanner: Scanner) -> list[bytes]:
    """Tags, quoted."""
    tags = []
    while scanner.try_space():
        tags.append(scanner.string())
    scanner.end()
    if not tags:
        raise Bad("a tag is missing")
    return tags


@COMMANDS.command("CANCELUPDATE", states=SELECTED, syntax=cancel_syntax, capability="CONTEXT=SEARCH")
async def cancelupdate(session: ImapSession, tags: list[bytes]) -> Reply:
    """RFC 5267 section 4.5."""
    view = selected(session)
    for tag in tags:
        if view.contexts.pop(tag, None) is None:
            raise Bad("there is no live search of that tag")
    return session.ok(b"CANCELUPDATE completed")
