"""NOTIFY (RFC 5465): the client says which events in which mailboxes it wants to hear of, and hears of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.reply import Reply

from .errors import Bad, No
from .fetch import fetch_content, fetch_index
from .fetch_items import Plan, read_items
from .hub import hub
from .listing import in_order, status_line, visible
from .multisearch import Filter, matches, read_filter
from .scanner import Scanner
from .states import AUTHENTICATED, COMMANDS

if TYPE_CHECKING:
    from .session import ImapSession

GROUPS_MAX = 50
WATCHED_MAX = 10_000
"""Mailboxes watched by one session."""

_EVENTS = {
    name.upper(): name
    for name in (
        "MessageNew",
        "MessageExpunge",
        "FlagChange",
        "MailboxName",
        "SubscriptionChange",
        "MailboxMetadataChange",
        "ServerMetadataChange",
    )
}
_UNSUPPORTED = frozenset({"ANNOTATIONCHANGE"})


@dataclass(frozen=True, slots=True)
class Group:
    """Events that are wanted of some mailboxes."""

    filter: Filter
    events: frozenset[str]
    plan: Plan | None = None
    """What is to be fetched of new messages."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """The arguments of NOTIFY; no groups for NOTIFY NONE."""

    groups: tuple[Group, ...] = ()
    status: bool = False


def notify_syntax(scanner: Scanner) -> Wishes:
    """`NONE`, or `SET [STATUS] (filter (events)) …`."""
    scanner.space()
    if scanner.try_word(b"NONE"):
        scanner.end()
        return Wishes()
    if not scanner.try_word(b"SET"):
        raise Bad("SET or NONE is missing")
    scanner.space()
    status = scanner.try_word(b"STATUS")
    if status:
        scanner.space()
    groups = []
    while True:
        groups.append(_group(scanner))
        if len(groups) > GROUPS_MAX:
            raise Bad("there are too many event groups")
        if not scanner.try_space():
            break
    scanner.end()
    if len({group.filter[0] for group in groups if group.filter[0].startswith("SELECTED")}) > 1:
        raise Bad("SELECTED and SELECTED-DELAYED exclude one another")
    return Wishes(tuple(groups), status)


def _group(scanner: Scanner) -> Group:
    scanner.take(b"(")
    filter_ = read_filter(scanner)
    scanner.space()
    if scanner.try_word(b"NONE"):
        scanner.take(b")")
        return Group(filter_, frozenset())
    scanner.take(b"(")
    events: set[str] = set()
    plan = None
    while True:
        word = scanner.word().decode("ascii")
        if word in _UNSUPPORTED or word not in _EVENTS:
            raise No("that event is not supported", code=b"BADEVENT (" + " ".join(_EVENTS.values()).encode() + b")")
        events.add(word)
        if word == "MESSAGENEW" and scanner.looks_like(b" ("):
            scanner.space()
            plan = read_items(scanner, with_uid=True)
            if not filter_[0].startswith("SELECTED"):
                raise Bad("items are fetched of the selected mailbox only")
        if scanner.try_take(b")"):
            break
        scanner.space()
    scanner.take(b")")
    if ("MESSAGENEW" in events) != ("MESSAGEEXPUNGE" in events) or (
        "FLAGCHANGE" in events and "MESSAGENEW" not in events
    ):
        raise Bad("MessageNew and MessageExpunge go together, and FlagChange needs them")
    return Group(filter_, frozenset(events), plan)


class _FolderWatch:
    """Listens to a mailbox that is not selected."""

    def __init__(self, notify: Notify, folder: Any, events: frozenset[str]) -> None:
        self.notify = notify
        self.folder = folder
        self.events = events
        folder.listen(self)

    def appended(self, message: Any) -> None:
        if "MESSAGENEW" in self.events:
            self.notify.touch(self.folder)

    def flags_changed(self, message: Any) -> None:
        if "FLAGCHANGE" in self.events:
            self.notify.touch(self.folder)

    def expunged(self, messages: Sequence[Any]) -> None:
        if "MESSAGEEXPUNGE" in self.events:
            self.notify.touch(self.folder)

    def folder_gone(self, folder: Any) -> None:
        self.notify.watches.pop(folder, None)


class Notify:
    """What one session wants to hear of, and what it has not heard yet."""

    def __init__(self, session: ImapSession, wishes: Wishes) -> None:
        self.session = session
        self.groups = wishes.groups
        self.watches: dict[Any, _FolderWatch] = {}
        self.selected = next((g for g in wishes.groups if g.filter[0].startswith("SELECTED")), None)
        self._touched: dict[Any, None] = {}
        self._lines: list[bytes] = []
        self._new: list[Any] = []
        hub(session).append(self)
        for name, folder in visible(session).items():
            self.watch(name, folder)

    @property
    def delayed(self) -> bool:
        """Whether expunges of the selected mailbox wait for a command (SELECTED-DELAYED)."""
        return self.selected is None or self.selected.filter[0] == "SELECTED-DELAYED"

    def events_of(self, name: str, folder: Any) -> frozenset[str]:
        """The events wanted of a mailbox: the first group that means it decides (RFC 5465 section 3.1)."""
        for group in self.groups:
            if not group.filter[0].startswith("SELECTED") and matches(self.session, group.filter, name, folder):
                return group.events
        return frozenset()

    def watch(self, name: str, folder: Any) -> bool:
        """Listen to a mailbox if messages in it are of interest."""
        if folder is None or not folder.selectable or folder in self.watches or len(self.watches) >= WATCHED_MAX:
            return False
        events = self.events_of(name, folder)
        if not events & {"MESSAGENEW", "MESSAGEEXPUNGE", "FLAGCHANGE"} or "r" not in self.session.rights(folder):
            return False
        self.watches[folder] = _FolderWatch(self, folder, events)
        return True

    def close(self) -> None:
        """Stop listening."""
        for folder, watch in self.watches.items():
            folder.unlisten(watch)
        self.watches.clear()
        listeners = hub(self.session)
        if self in listeners:
            listeners.remove(self)

    # --- what happened ------------------------------------------------------------------------------------------------

    def touch(self, folder: Any) -> None:
        """A mailbox that is watched has changed."""
        view = self.session.view
        if view is None or view.folder is not folder:
            self._touched[folder] = None
            self.session.something_happened()

    def say(self, line: bytes) -> None:
        """A response is due."""
        self._lines.append(line)
        self.session.something_happened()

    def new_messages(self, messages: Sequence[Any]) -> None:
        """Messages of the selected mailbox were announced: their items are due, if any were asked for."""
        if self.selected is not None and self.selected.plan is not None:
            self._new.extend(messages)

    def take(self) -> bytes:
        """The responses that are due."""
        if not self._touched and not self._lines:
            return b""
        lines, self._lines = self._lines, []
        touched, self._touched = self._touched, {}
        lines += [self.status(folder) for folder in touched if not folder.gone]
        return b"".join(lines)

    def status(self, folder: Any) -> bytes:
        """The STATUS of a mailbox that is watched."""
        items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"]
        if folder in self.watches and "FLAGCHANGE" in self.watches[folder].events:
            items.append("UNSEEN")
        if self.session.condstore:
            items.append("HIGHESTMODSEQ")
        return status_line(self.session, self.session.folder_name(folder), folder, items)

    async def fetch_new(self) -> None:
        """Send the items of new messages."""
        view = self.session.view
        new, self._new = self._new, []
        if view is None or self.selected is None or self.selected.plan is None or not new:
            return
        plan = self.selected.plan
        pairs = [(view.number_of(message.uid), message) for message in new if not message.expunged]
        there = [(number, message) for number, message in pairs if number]
        await (fetch_content if plan.needs_octets else fetch_index)(self.session, view, there, plan)


@COMMANDS.command("NOTIFY", states=AUTHENTICATED, syntax=notify_syntax, capability="NOTIFY")
async def notify(session: ImapSession, wishes: Wishes) -> Reply:
    """RFC 5465 section 3.1."""
    if session.notify is not None:
        session.notify.close()
        session.notify = None
    session.watching = bool(wishes.groups)
    if wishes.groups:
        state = Notify(session, wishes)
        session.notify = state
        if wishes.status:
            view = session.view
            names = {session.folder_name(folder): folder for folder in state.watches}
            for name in in_order(names):
                if view is None or view.folder is not names[name]:
                    session.send(state.status(names[name]))
                    await session.flush_when_large()
    return session.ok(b"NOTIFY completed")
