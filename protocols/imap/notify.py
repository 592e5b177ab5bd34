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
from .listing import attributes_of, in_order, list_response, status_line, visible
from .multisearch import Filter, matches, read_filter
from .names import SEPARATOR
from .scanner import Scanner
from .states import AUTHENTICATED, COMMANDS

if TYPE_CHECKING:
    from .session import ImapSession

GROUPS_MAX = 50
WATCHED_MAX = 10_000
"""Mailboxes watched by one session."""
LINES_MAX = 10_000
"""Responses that wait for a client which does not read."""

CAUSES_MAX = 1000
"""New messages of one mailbox that are remembered as the reason for a STATUS."""

MESSAGE_EVENTS = frozenset({"MESSAGENEW", "MESSAGEEXPUNGE", "FLAGCHANGE"})

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
    if filter_[0].startswith("SELECTED") and not events <= MESSAGE_EVENTS:
        raise Bad("of the selected mailbox only messages are told")
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
            self.notify.touch(self.folder, message)

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
        self._touched: dict[Any, set[Any]] = {}
        """Mailboxes of which a STATUS is due, with the messages that are the reason; an empty set: another reason."""
        self._lines: list[bytes] = []
        self._new: list[Any] = []
        self._overflowed = False

    def begin(self) -> None:
        """Listen to mailboxes. Raises No [NOTIFICATIONOVERFLOW] for too many of them."""
        for name, folder in visible(self.session).items():
            if not self._listen(name, folder):
                self.say_no_access(name)
            if len(self.watches) > WATCHED_MAX:
                self.close()
                raise No(f"no more than {WATCHED_MAX} mailboxes are watched", code=b"NOTIFICATIONOVERFLOW")
        hub(self.session).append(self)

    @property
    def delayed(self) -> bool:
        """Whether expunges of the selected mailbox wait for a command (SELECTED-DELAYED)."""
        return self.selected is None or self.selected.filter[0] == "SELECTED-DELAYED"

    def events_of(self, name: str, folder: Any) -> frozenset[str]:
        """The events wanted of a mailbox: those of all groups that mean it (RFC 5465 section 6)."""
        wanted: frozenset[str] = frozenset()
        for group in self.groups:
            if not group.filter[0].startswith("SELECTED") and matches(self.session, group.filter, name, folder):
                wanted |= group.events
        return wanted

    def _listen(self, name: str, folder: Any) -> bool:
        """Listen to a mailbox if messages in it are of interest. False: they are, and may not be told of."""
        if folder is None or not folder.selectable or folder.gone:
            return True
        events = self.events_of(name, folder) & MESSAGE_EVENTS
        allowed = "r" in self.session.rights(folder)
        watch = self.watches.get(folder)
        if watch is not None:
            watch.events = events if allowed else frozenset()
        elif events and allowed:
            self.watches[folder] = _FolderWatch(self, folder, events)
        return allowed or not events

    def reconsider(self, name: str, folder: Any) -> None:
        """A name, a subscription or rights are others: listen to the mailbox, or do so no longer."""
        self._listen(name, folder)
        watch = self.watches.get(folder)
        if watch is not None and not watch.events:
            folder.unlisten(watch)
            del self.watches[folder]
        if len(self.watches) > WATCHED_MAX:
            self._overflow()

    def close(self) -> None:
        """Stop listening."""
        for folder, watch in self.watches.items():
            folder.unlisten(watch)
        self.watches.clear()
        listeners = hub(self.session)
        if self in listeners:
            listeners.remove(self)

    # --- what happened ------------------------------------------------------------------------------------------------

    def touch(self, folder: Any, message: Any = None) -> None:
        """A mailbox that is watched has changed, by a new message or otherwise."""
        view = self.session.view
        if view is not None and view.folder is folder:
            return
        known = self._touched.get(folder)
        if message is None or (known is not None and (not known or len(known) >= CAUSES_MAX)):
            self._touched[folder] = set()
        elif known is None:
            self._touched[folder] = {message}
        else:
            known.add(message)
        self.session.something_happened()

    def caused(self, folder: Any, messages: Sequence[Any]) -> None:
        """The client itself put messages there: it need not be told (RFC 5465 section 5)."""
        known = self._touched.get(folder)
        if known:
            known.difference_update(messages)
            if not known:
                del self._touched[folder]

    def say(self, line: bytes) -> None:
        """A response is due."""
        self._lines.append(line)
        if len(self._lines) > LINES_MAX:
            self._overflow()
        self.session.something_happened()

    def say_name(self, name: str, *, old_name: str = "") -> None:
        """A LIST response is due: a name was made, renamed, deleted, subscribed to (RFC 5465 sections 5.4, 5.5)."""
        session = self.session
        names = visible(session)
        attributes = attributes_of(
            session,
            names.get(name),
            exists=name in names,
            subscribed=name in session.mailbox.subscriptions,
            children=any(other.startswith(name + SEPARATOR) for other in names),
        )
        line = list_response(session, name, attributes)
        if old_name:
            line += b' ("OLDNAME" (%b))' % session.name_octets(old_name)
        self.say(line + b"\r\n")

    def say_no_access(self, name: str) -> None:
        """Events were asked for of a mailbox that may not be read (RFC 5465 sections 3.1, 5.9)."""
        self.say(list_response(self.session, name, ("\\NoAccess",)) + b"\r\n")

    def _overflow(self) -> None:
        """RFC 5465 section 5.8: as after NOTIFY NONE."""
        self.close()
        self.groups, self.selected = (), None
        self._touched.clear()
        self._new.clear()
        self._lines = [b"* OK [NOTIFICATIONOVERFLOW] There is too much to tell\r\n"]
        self.session.message_events = frozenset()

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

    def status(self, folder: Any, *, first: bool = False) -> bytes:
        """The STATUS of a mailbox that is watched; `first`: before NOTIFY's tagged OK."""
        session = self.session
        items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"]
        flags = folder in self.watches and "FLAGCHANGE" in self.watches[folder].events
        if session.condstore or (first and flags and "CONDSTORE" not in session.settings.capabilities_hidden):
            items.append("HIGHESTMODSEQ")
        if flags:
            items.append("UNSEEN")
        return status_line(session, session.folder_name(folder), folder, items)

    async def fetch_new(self) -> None:
        """Send the items of new messages."""
        view = self.session.view
        new, self._new = self._new, []
        if view is None or self.selected is None or self.selected.plan is None or not new:
            return
        plan = self.selected.plan.as_asked() if self.session.uidonly else self.selected.plan
        pairs = [(view.number_of(message.uid), message) for message in new if not message.expunged]
        there = [(number, message) for number, message in pairs if number]
        await (fetch_content if plan.needs_octets else fetch_index)(self.session, view, there, plan)


@COMMANDS.command("NOTIFY", states=AUTHENTICATED, syntax=notify_syntax, capability="NOTIFY")
async def notify(session: ImapSession, wishes: Wishes) -> Reply:
    """RFC 5465 section 3.1: what happened in the selected mailbox so far is told, then what was asked for."""
    state = Notify(session, wishes) if wishes.groups else None
    if state is not None:
        state.begin()
    session.message_events = None
    session.send(session.updates())
    await session.after_updates()
    if session.notify is not None:
        session.notify.close()
    session.notify = state
    session.watching = state is not None
    session.message_events = frozenset()
    if state is not None:
        if state.selected is not None:
            session.message_events = state.selected.events
        if wishes.status:
            view = session.view
            names = {session.folder_name(folder): folder for folder in state.watches}
            for name in in_order(names):
                if view is None or view.folder is not names[name]:
                    session.send(state.status(names[name], first=True))
                    await session.flush_when_large()
    return session.ok(b"NOTIFY completed")
