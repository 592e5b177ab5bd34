"""Live searches: RETURN (UPDATE) and CANCELUPDATE (CONTEXT=SEARCH, RFC 5267)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from protocols.ports import NoSuchMessage
from protocols.reply import Reply

from .errors import Bad
from .fetch import fetch_content, fetch_index
from .fetch_items import Plan
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

    def __init__(
        self,
        tag: bytes,
        program: Key,
        found: Iterable[int],
        *,
        by_uid: bool,
        place: bytes = b"",
        plan: Plan | None = None,
    ) -> None:
        """`place`: further correlators of an ESEARCH command; `plan`: items wanted of new messages (RFC 5465)."""
        self.tag = tag
        self.program = program
        self.by_uid = by_uid
        self.place = place
        self.plan = plan
        self.matched = set(found)
        """UIDs that the client knows to match."""

    def line(self, word: bytes, view: View, uids: list[int]) -> bytes:
        """`* ESEARCH (TAG "a") UID ADDTO (0 5)`; the position is 0, for nothing was sorted."""
        numbers = uids if self.by_uid else [view.number_of(uid) for uid in uids]
        uid = b" UID" if self.by_uid else b""
        return b"* ESEARCH (TAG %b%b)%b %b (0 %b)\r\n" % (quote(self.tag), self.place, uid, word, format_set(numbers))

    def before_expunge(self, view: View, uids: Iterable[int]) -> bytes:
        """REMOVEFROM for messages that are about to lose their numbers."""
        gone = sorted(uid for uid in uids if uid in self.matched)
        if not gone:
            return b""
        self.matched.difference_update(gone)
        return self.line(b"REMOVEFROM", view, gone)

    async def refresh(self, session: ImapSession, view: View, messages: Iterable[Any], fresh: set[int]) -> None:
        """Send what changed in the result through these messages; `fresh` ones are new and not the client's own."""
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
                added.append((number, message))
            elif not now and message.uid in self.matched:
                removed.append(message.uid)
        new = sorted(message.uid for _, message in added)
        self.matched.difference_update(removed)
        self.matched.update(new)
        if removed:
            session.send(self.line(b"REMOVEFROM", view, sorted(removed)))
        wanted = [pair for pair in added if pair[1].uid in fresh]
        if self.plan is not None and wanted:  # RFC 5465 section 7: EXISTS, FETCH, ESEARCH in that order
            await (fetch_content if self.plan.needs_octets else fetch_index)(session, view, wanted, self.plan)
        if new:
            session.send(self.line(b"ADDTO", view, new))

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
    fresh, view.fresh = view.fresh, set()
    for context in tuple(view.contexts.values()):
        await context.refresh(session, view, dirty.values(), fresh)


def check_tag(session: ImapSession, view: View) -> None:
    """Raises Bad for a tag that a live search has already (RFC 5267 section 4.3)."""
    if session.tag in view.contexts:
        raise Bad("there is a live search of that tag")


def begin(session: ImapSession, view: View, context: Context) -> None:
    """Keep a search alive, or tell the client that it will not be (RFC 5267 section 4.3.1)."""
    if len(view.contexts) >= CONTEXTS_MAX:
        session.send(session.no_update())
        return
    view.contexts[context.tag] = context


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
