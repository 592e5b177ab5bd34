"""Every message that came in, once, however many mailboxes it was put into; and waiting for the next one.

The archive follows the store through its backend: each committed change passes here after it was applied. A message
becomes visible when it is stored *and* the reply that acknowledged it has been written to its socket, so that a test
never sees a message before its sender got the 250.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from emulator import changes
from emulator.changes import Backend, Change, Done, Settle
from emulator.durable.loading import without_collecting
from emulator.events import MessageAccepted, MessageBad
from emulator.folder import SEEN, Message
from protocols.actor import Actor, current_actor

from .view import MessageView

if TYPE_CHECKING:
    from emulator.content import Content
    from emulator.properties import PropertyMessage
    from emulator.server import Server

ENTRIES_MAX = 1_000_000
BAD_REMEMBERED_MAX = 100
SESSION_KINDS = frozenset({"smtp", "lmtp", "pop3", "imap", "nntp"})
CommitObserver = Callable[[Sequence[Change], Actor], None]


class ObservedBackend:
    """A backend that tells of commits: `before` as they are handed over, `after` once they were applied."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.before: list[Callable[[Sequence[Change]], None]] = []
        self.after: list[CommitObserver] = []
        self.commits = 0
        """How many there were."""

    async def commit(self, records: Sequence[Change], settle: Settle) -> None:
        """See `emulator.changes.Backend`."""
        await self.inner.commit(records, self._observed(records, settle))

    def hand_over(self, records: Sequence[Change], settle: Settle, done: Done) -> None:
        """See `emulator.changes.Backend`."""
        self.inner.hand_over(records, self._observed(records, settle), done)

    def _observed(self, records: Sequence[Change], settle: Settle) -> Settle:
        actor = current_actor.get()
        self.commits += 1
        for look in self.before:
            look(records)

        def settled(kept: bool) -> None:
            settle(kept)
            if kept:
                for observer in self.after:
                    observer(records, actor)

        return settled

    async def read(self, content: Content, ahead: Sequence[Content] = ()) -> PropertyMessage:
        """See `emulator.changes.Backend`."""
        return await self.inner.read(content, ahead)

    async def close(self) -> None:
        """See `emulator.changes.Backend`."""
        await self.inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass(frozen=True, slots=True)
class Envelope:
    """How a message came in over SMTP."""

    number: int
    """Counts the replies that acknowledged a message."""
    peer: str
    reverse_path: str
    recipients: tuple[str, ...]


class Entry:
    """One message and its copies."""

    __slots__ = ("content", "envelope", "messages", "name", "number", "recallable", "received", "tags", "visible")

    def __init__(self, number: int, content: Content, received: float) -> None:
        self.number = number
        """Counts up in the order of arrival: the cursor of waits and lists."""
        self.content = content
        self.received = received
        self.name = f"{content.digest[:6].hex()}{number:06x}"
        self.messages: list[Message] = []
        self.tags: tuple[str, ...] = ()
        self.envelope: Envelope | None = None
        """None where it did not come in over SMTP."""
        self.visible = False
        self.recallable = 0
        """Copies that are gone and that a snapshot may bring back."""

    @property
    def read(self) -> bool:
        """Whether every copy is \\Seen."""
        for message in self.messages:  # noqa: SIM110  # lists ask each entry: no generator
            if SEEN not in message.flags:
                return False
        return True

    @property
    def recipients(self) -> tuple[str, ...]:
        """Mailboxes and newsgroups that have it, each once."""
        owners = (m.folder.owner.name if m.folder.owner is not None else m.folder.name for m in self.messages)
        return tuple(dict.fromkeys(owners))

    @property
    def size(self) -> int:
        """Octets."""
        return self.content.size


Wanted = Callable[[Entry, MessageView], bool]


class Archive:
    """All messages of one server in order of arrival."""

    def __init__(self, server: Server) -> None:
        self._entries: dict[str, Entry] = {}
        self._by_copy: dict[tuple[int, int], Entry] = {}
        self._by_digest: dict[bytes, list[Entry]] = {}
        self._last = 0
        self._owed_by_spool: dict[str, Actor] = {}
        self._envelopes: dict[str, Envelope] = {}
        """Of messages that are in the spool."""
        self._accepted_count = 0
        self._spools_of: dict[Actor, list[str]] = {}
        self._owed: dict[Actor, list[Entry]] = {}
        self._answering: dict[Actor, str] = {}
        """Sessions whose transcript is followed, so that their replies are seen; with their peers."""
        self._waiting: list[asyncio.Future[None]] = []
        self._removed: dict[tuple[int, int], Entry] | None = None
        """Entries of copies that are gone, while snapshots may bring them back."""
        self._hidden: set[int] = set()
        """Numbers of entries whose acknowledgement was not written yet."""
        self._visible = 0
        self._unread = range(0)
        """Numbers for messages that the store had before; they are entries once somebody asks for them."""
        self.accepted_octets = 0
        """Of all messages that came in over SMTP."""
        self.removed_count = 0
        """Messages of which no copy is left."""
        self.bad: list[MessageBad] = []
        """The last messages that went to BAD."""
        self.listeners: list[Callable[[str, Entry], None]] = []
        """Called with `new`, `changed` or `gone` and the entry; must not block."""
        self._follow(server)

    def _follow(self, server: Server) -> None:
        self._server = server
        server.bus.on(MessageAccepted, self._accepted)
        server.bus.on(MessageBad, self._went_bad)

    def move(self, server: Server) -> None:
        """Follow another server, which goes on with the store of the one that has ended; the cursor goes on."""
        self._forget_debts()
        self._answering.clear()
        self.listeners.clear()
        self._follow(server)

    def _forget_debts(self) -> None:
        self._owed.clear()
        self._owed_by_spool.clear()
        self._envelopes.clear()
        self._spools_of.clear()
        self.bad.clear()

    # --- following the store ------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Take in what the store has already, when somebody asks for it: until then its folders are not looked at."""
        first = self._last + 1
        self._last += sum(folder.uid_next - 1 for folder in self._server.store.folders_by_id.values())
        self._unread = range(first, self._last + 1)

    def read(self, new: Set[tuple[int, int]] = frozenset()) -> None:
        """Take in what was there at `load` and still is, in order of arrival; but those that are being added."""
        numbers, self._unread = self._unread, range(0)
        if not numbers:
            return
        later, self._entries = self._entries, {}
        last, self._last = self._last, numbers[0] - 1
        with without_collecting():
            folders = tuple(self._server.store.folders_by_id.values())
            known = self._by_copy.keys() | new
            there = [m for f in folders for m in f.messages[-ENTRIES_MAX:] if (f.folder_id, m.uid) not in known]
            for message in sorted(there, key=lambda message: message.save_date):
                self._add(message, message.save_date)
            for entry in self._entries.values():
                self._reveal(entry)
        self._last = last
        self._entries.update(later)

    def clear(self) -> None:
        """Forget all; the cursor goes on."""
        self._unread = range(0)
        self._entries.clear()
        self._hidden.clear()
        self._visible = 0
        self._by_copy.clear()
        self._by_digest.clear()
        self._forget_debts()

    def session_began(self, actor: Actor, peer: str = "") -> None:
        """The replies of this session are seen (`replied` will be called)."""
        self._answering[actor] = peer

    def session_ended(self, actor: Actor) -> None:
        """No reply will follow."""
        self._answering.pop(actor, None)
        self.replied(actor)

    def replied(self, actor: Actor) -> None:
        """The session wrote something to its peer: what it acknowledged is told once the write is through."""
        for name in self._spools_of.pop(actor, ()):
            self._owed_by_spool.pop(name, None)
        entries = self._owed.pop(actor, None)
        if entries:
            asyncio.get_running_loop().call_soon(self._show, entries)

    def _accepted(self, event: MessageAccepted) -> None:
        actor = current_actor.get()
        self._accepted_count += 1
        envelope = Envelope(self._accepted_count, self._answering.get(actor, ""), event.reverse_path, event.recipients)
        self._envelopes[event.spool_name] = envelope
        if actor in self._answering:
            self._owed_by_spool[event.spool_name] = actor
            self._spools_of.setdefault(actor, []).append(event.spool_name)

    def _went_bad(self, event: MessageBad) -> None:
        self._owed_by_spool.pop(event.spool_name, None)
        self._envelopes.pop(event.spool_name, None)
        self.bad.append(event)
        del self.bad[:-BAD_REMEMBERED_MAX]
        self._wake()

    def committed(self, records: Sequence[Change], actor: Actor) -> None:
        """Called by `ObservedBackend` after each commit was applied."""
        new: list[Entry] = []
        owner = actor if actor in self._answering else None
        if self._unread:
            appended = [record for record in records if isinstance(record, changes.Appended)]
            if any(record.internal_date != record.save_date for record in appended):  # perhaps copies of old ones
                self.read({(record.folder_id, record.uid) for record in appended})
        for record in records:
            if isinstance(record, changes.Appended):
                folder = self._server.store.folders_by_id.get(record.folder_id)
                message = folder.by_uid(record.uid) if folder is not None else None
                if message is not None:
                    entry = self._add(message, record.save_date)
                    if not entry.visible and entry not in new:
                        new.append(entry)
            elif isinstance(record, changes.SpoolDone):
                owner = self._owed_by_spool.get(record.spool_name, None)
                envelope = self._envelopes.pop(record.spool_name, None)
                for entry in new:
                    if entry.envelope is None and envelope is not None:
                        entry.envelope = envelope
                        self.accepted_octets += entry.size
            elif isinstance(record, changes.FlagsSet):
                for uid, _ in record.flags:
                    self._changed(record.folder_id, uid)
            elif isinstance(record, changes.Expunged):
                for uid in record.uids:
                    self._remove(record.folder_id, uid)
            elif isinstance(record, changes.FolderDeleted):
                self._remove_folder(record.folder_id)
            elif isinstance(record, changes.MailboxDeleted):
                self._remove_strays()
        if not new:
            return
        if owner is None:
            self._show(new)
        else:
            self._owed.setdefault(owner, []).extend(new)

    def _add(self, message: Message, received: float) -> Entry:
        entry = self._copy_of(message)
        if entry is None:
            self._last += 1
            entry = Entry(self._last, message.content, received)
            self._entries[entry.name] = entry
            self._hidden.add(entry.number)
            self._by_digest.setdefault(message.content.digest, []).append(entry)
            if len(self._entries) > ENTRIES_MAX:
                oldest = next(iter(self._entries.values()))
                self._drop(oldest)
                self._entries.pop(oldest.name, None)
        entry.messages.append(message)
        self._by_copy[message.folder.folder_id, message.uid] = entry
        return entry

    def _copy_of(self, message: Message) -> Entry | None:
        """The entry that this is a copy of: put into several folders by one commit, or copied with its date."""
        alike = self._by_digest.get(message.content.digest)
        if alike is None:
            return None
        copied = message.internal_date != message.save_date
        for entry in reversed(alike):
            if not copied and entry.received < message.save_date:
                return None  # older ones were not put in together with it, and it has no date of theirs
            for other in entry.messages:
                together = other.save_date == message.save_date and other.folder is not message.folder
                if together or (copied and other.internal_date == message.internal_date):
                    return entry
        return None

    def _changed(self, folder_id: int, uid: int) -> None:
        entry = self._by_copy.get((folder_id, uid))
        if entry is not None:
            self.changed(entry)

    def changed(self, entry: Entry) -> None:
        """Something about it is not what it was: flags, tags."""
        if entry.visible:
            self._tell("changed", entry)

    def _remove(self, folder_id: int, uid: int) -> None:
        entry = self._by_copy.pop((folder_id, uid), None)
        if entry is None:
            return
        if self._removed is not None:
            self._removed[folder_id, uid] = entry
            entry.recallable += 1
        entry.messages = [m for m in entry.messages if (m.folder.folder_id, m.uid) != (folder_id, uid)]
        if not entry.messages:
            self._drop(entry)

    def remember_removed(self, wanted: bool) -> None:
        """Whether removed copies may come back: entries without copies keep their places meanwhile."""
        for entry in (self._removed or {}).values():
            entry.recallable = 0
            if not entry.messages:
                self._entries.pop(entry.name, None)
        self._removed = {} if wanted else None

    def take_out(self, message: Message) -> None:
        """A copy is gone, though nobody expunged it."""
        self._remove(message.folder.folder_id, message.uid)
        entry = self._recall(message)
        if entry is not None and not entry.messages and not entry.recallable:
            self._entries.pop(entry.name, None)

    def _recall(self, message: Message) -> Entry | None:
        """The entry of a copy that was removed; it is no longer remembered."""
        key = (message.folder.folder_id, message.uid)
        entry = self._removed.pop(key, None) if self._removed is not None else None
        if entry is not None:
            entry.recallable -= 1
        return entry

    def put_back(self, message: Message) -> None:
        """A copy that was gone is there again."""
        entry = self._recall(message)
        if entry is None and self._unread:
            return
        if entry is None:
            entry = self._add(message, message.save_date)
        else:
            entry.messages.append(message)
            self._by_copy[message.folder.folder_id, message.uid] = entry
            alike = self._by_digest.setdefault(entry.content.digest, [])
            if entry not in alike:
                alike.append(entry)
        self._reveal(entry)
        self._tell("new", entry)

    def forget_copy(self, message: Message) -> None:
        """The UID of a copy is about to change; its entry stays."""
        self.read()
        self._by_copy.pop((message.folder.folder_id, message.uid), None)

    def know_copy(self, message: Message) -> None:
        """The UID of a copy has changed."""
        for entry in self._by_digest.get(message.content.digest, ()):
            if message in entry.messages:
                self._by_copy[message.folder.folder_id, message.uid] = entry

    def _remove_folder(self, folder_id: int) -> None:
        for key in [key for key in self._by_copy if key[0] == folder_id]:
            self._remove(*key)

    def _remove_strays(self) -> None:
        known = self._server.store.folders_by_id
        for folder_id in {key[0] for key in self._by_copy} - set(known):
            self._remove_folder(folder_id)

    def _drop(self, entry: Entry) -> None:
        if self._removed is None:
            self._entries.pop(entry.name, None)
        self.removed_count += 1
        self._hidden.discard(entry.number)
        alike = self._by_digest.get(entry.content.digest, [])
        if entry in alike:
            alike.remove(entry)
            if not alike:
                del self._by_digest[entry.content.digest]
        if entry.visible:
            entry.visible = False
            self._visible -= 1
            self._tell("gone", entry)

    def _reveal(self, entry: Entry) -> None:
        self._hidden.discard(entry.number)
        if not entry.visible:
            entry.visible = True
            self._visible += 1

    def _show(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.messages:  # it may be gone again already
                self._reveal(entry)
                self._tell("new", entry)
        self._wake()

    def _tell(self, what: str, entry: Entry) -> None:
        for listener in self.listeners:
            listener(what, entry)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    # --- looking ------------------------------------------------------------------------------------------------------

    @property
    def last_number(self) -> int:
        """The number of the newest entry: the cursor."""
        return self._last

    def get(self, name: str) -> Entry | None:
        """An entry by its name; `latest` is the newest."""
        self.read()
        if name == "latest":
            return next(self.newest_first(), None)
        entry = self._entries.get(name)
        return entry if entry is not None and entry.visible else None

    def __len__(self) -> int:
        self.read()
        return self._visible

    def since(self, number: int = 0) -> list[Entry]:
        """Visible entries after that one, oldest first: at the cost of those, however many there are before."""
        if self._unread and number < self._unread[-1]:
            self.read()
        later = takewhile(lambda entry: entry.number > number, reversed(self._entries.values()))
        return [entry for entry in later if entry.visible][::-1]

    def newest_first(self) -> Iterator[Entry]:
        """All visible entries."""
        self.read()
        return (entry for entry in reversed(self._entries.values()) if entry.visible)

    async def view(self, entry: Entry) -> MessageView:
        """The message of an entry, kept on its content. Takes no section. Raises NoSuchMessage, Unavailable."""
        message = entry.messages[0]
        views: MessageView | None = message.content.derived.get("harness.view")
        if views is not None and views.id == entry.name and views.recipients == entry.recipients:
            return views
        octets, part = await self._server.converter.structure(message)
        properties = await self._server.store.read(message)
        view = MessageView(
            octets,
            part,
            message_id=entry.name,
            received=entry.received,
            recipients=entry.recipients,
            property_message=properties,
        )
        message.content.derived["harness.view"] = view
        return view

    async def wait(self, wanted: Wanted, *, taken: set[int], after: int = 0, seconds_max: float) -> Entry | None:
        """The first entry after `after` that is wanted and not taken yet; it is taken then. None: time is up."""
        seen = after
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                while True:
                    for entry in self.since(seen):
                        if entry.number not in taken and wanted(entry, await self.view(entry)):
                            taken.add(entry.number)
                            return entry
                    hidden = self.lowest_hidden
                    seen = max(seen, self._last) if hidden is None else max(after, hidden - 1)
                    await self._changed_at_all()
        return None

    @property
    def lowest_hidden(self) -> int | None:
        """The number of the oldest entry that is not visible yet."""
        return min(self._hidden, default=None)

    async def _changed_at_all(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            self._waiting.remove(future)
