"""A second server that begins where the first one stands, with its mailboxes, UIDs and flags, and goes its own way.

A fork costs a record for each folder: its messages are made when somebody looks at the folder. Until then the folder
is the one it was copied from, less what has changed there since (`Forks` writes that down, commit by commit).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from emulator.changes import Change, Expunged, FlagsSet, MemoryBackend
from emulator.config import Settings
from emulator.content import Content
from emulator.durable.loading import without_collecting
from emulator.folder import Folder, Mailbox, Message
from emulator.scheduling import AsyncioClock
from emulator.server import Server
from emulator.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emulator.properties import PropertyMessage
    from harness.workbench import Workbench
    from protocols.ports import Clock

PORTS = ("smtp", "pop3", "imap", "nntp", "smtps", "pop3s", "imaps", "nntps", "lmtp")
_SCALARS = (
    *("created", "deleted", "description", "first_recent_uid", "highest_modseq", "posting", "selectable"),
    *("size", "special_use", "uid_next", "unseen", "vanished_floor"),
)


def settings_beside(settings: Settings, ports: Mapping[str, int] | None = None) -> Settings:
    """Settings for another server in this process: in memory, empty, on ports of its own (any free ones)."""
    chosen: dict[str, Any] = {
        f"{name}_port": (ports or {}).get(name, 0)
        for name in PORTS
        if getattr(settings, f"{name}_port") is not None or name in (ports or {})
    }
    alone: dict[str, Any] = {"accounts": (), "groups": (), "load": (), "newsfeeds": (), "data": None}
    return replace(settings, lmtp_socket=None, **alone, **chosen)


async def fork(server: Server, *, settings: Settings | None = None, clock: Clock | None = None) -> Server:
    """Start a copy on free ports, in memory. Costs a record for each folder; the messages are shared.

    `settings`: those of the copy; its accounts and newsgroups are added to what is copied. The caller has to stop the
    copy (`stop`, `kill`). What is in queues stays with the first. Raises SettingsError, UnknownBuild.
    """
    from harness.workbench import Workbench  # noqa: PLC0415  # it has the tenants, which fork

    wanted = settings or settings_beside(server.settings)
    chosen = clock or AsyncioClock()
    store = ForkedStore(wanted, server.store, chosen)
    watched = Workbench.of(server)
    watched.forks.add(store.unread)
    if not isinstance(watched.backend.inner, MemoryBackend):  # what is read on demand may be gone by then
        await store.read_all(server.store)
    copy = Server(wanted, clock=chosen, store=store)
    await copy.start()
    copy.directory.take_over(server.directory)
    for name in store.mailboxes:
        copy.directory._index(name)
    return copy


class ForkedStore(Store):
    """A store in memory that begins with what another one has."""

    def __init__(self, settings: Settings, other: Store, clock: Clock) -> None:
        super().__init__(settings, now=clock.time)
        self._last_folder_id, self._last_uid_validity = other._last_folder_id, other._last_uid_validity
        self.annotations.update(other.annotations)
        for mailbox in other.mailboxes.values():
            twin = self.mailboxes[mailbox.name] = Mailbox(mailbox.name)
            twin.subscriptions, twin.size = set(mailbox.subscriptions), mailbox.size
        self.unread: list[ForkedFolder] = []
        """Folders whose messages may not have been made yet."""
        for folder in other.folders_by_id.values():
            owner = None if folder.owner is None else self.mailboxes[folder.owner.name]
            forked = ForkedFolder(self, owner, folder)
            self._add_folder(forked)
            self.unread.append(forked)

    def find_message_id(self, message_id: bytes) -> Sequence[Message]:
        """See `Hierarchy`: newsgroups are looked at."""
        if self.unread:
            for folder in self.unread:
                if folder.owner is None:
                    folder.materialise()
            self.unread = [folder for folder in self.unread if folder.origin is not None]
        return super().find_message_id(message_id)

    async def close(self) -> None:
        """The server has ended: nobody looks any more."""
        for folder in self.unread:
            if folder.origin is not None:
                folder.origin, folder.messages, folder.uids = None, [], []
        await super().close()

    async def read_all(self, other: Store) -> None:
        """Make all messages at once; their contents are read from the other store. Raises Unavailable."""
        read: dict[bytes, PropertyMessage] = {}
        for folder in self.unread:
            assert folder.origin is not None
            for message in tuple(folder.origin.messages):
                content = message.content
                if content.message is None and content.digest not in read:
                    read[content.digest] = await other.read(message)
        for folder in self.unread:
            folder.materialise(read)
        self.unread = []


class ForkedFolder(Folder):
    """A folder whose `messages` and `uids` are made at the first look: until then these slots are empty."""

    __slots__ = ("__weakref__", "_store", "_uid_end", "changed", "missing", "origin")

    def __init__(self, store: Store, owner: Mailbox | None, origin: Folder) -> None:
        super().__init__(origin.folder_id, owner, origin.name, origin.uid_validity, origin.created)
        del self.messages, self.uids
        for name in _SCALARS:
            setattr(self, name, getattr(origin, name))
        self.uid_drawn, self.modseq_drawn = origin.uid_next - 1, origin.highest_modseq
        self.vanished = origin.vanished.copy()
        self._store = store
        self._uid_end = origin.uid_next
        self.origin: Folder | None = origin
        """Where the messages are; None when they were made."""
        self.changed: dict[int, tuple[int, frozenset[str]]] = {}
        """By UID: mod-sequence and flags of messages of `origin` that have others since."""
        self.missing: dict[int, Message] = {}
        """By UID: messages that `origin` has no longer."""

    def __getattr__(self, name: str) -> Any:
        if name in ("messages", "uids"):
            self.materialise()
            return object.__getattribute__(self, name)
        raise AttributeError(name)

    def keep(self, record: Expunged | FlagsSet) -> None:
        """The origin is about to change."""
        assert self.origin is not None
        if isinstance(record, Expunged):
            found = ((uid, self.origin.by_uid(uid)) for uid in record.uids)
            self.missing.update((uid, message) for uid, message in found if message is not None)
            return
        for uid, _ in record.flags:
            message = self.origin.by_uid(uid)
            if message is not None:
                self.changed.setdefault(uid, (message.modseq, message.flags))

    def materialise(self, read: Mapping[bytes, PropertyMessage] | None = None) -> None:
        """Make the messages. `read`: those of contents that are not in memory, by digest."""
        origin, self.origin = self.origin, None
        if origin is None:
            return
        there = origin.messages[: bisect_left(origin.uids, self._uid_end)]
        if self.missing:  # of a durable origin they may be there still
            by_uid = {message.uid: message for message in there} | self.missing
            there = [by_uid[uid] for uid in sorted(by_uid) if uid < self._uid_end]
        contents, changed = self._store._contents, self.changed
        messages = []
        with without_collecting():
            for message in there:
                content = message.content
                twin = contents.get(content.digest)
                if twin is None:
                    properties = content.message or (read or {})[content.digest]
                    twin = Content(content.digest, content.size, properties, content.message_id)
                    contents[content.digest] = twin
                twin.references += 1
                modseq, flags = changed.get(message.uid) or (message.modseq, message.flags)
                dates = (message.internal_date, message.zone_minutes, message.save_date)
                messages.append(Message(self, message.uid, modseq, flags, *dates, twin))
        self.messages = messages
        self.uids = [message.uid for message in messages]
        if self.owner is None:
            for message in messages:
                if message.content.message_id:
                    self._store._message_ids.setdefault(message.content.message_id, []).append(message)
        self.changed, self.missing = {}, {}


class Forks:
    """The forks of one server: what changes here is written down in those of their folders that nobody looked at."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._folders: dict[int, WeakSet[ForkedFolder]] = {}
        """By the number of the folder that they are a copy of."""

    def add(self, folders: Iterable[ForkedFolder]) -> None:
        """Folders of a new fork."""
        if not self._folders:
            self._workbench.backend.before.append(self._look)
        for folder in folders:
            self._folders.setdefault(folder.folder_id, WeakSet()).add(folder)

    def _look(self, records: Sequence[Change]) -> None:
        for record in records:
            if isinstance(record, Expunged | FlagsSet):
                for folder in self._folders.get(record.folder_id, ()):
                    if folder.origin is not None:
                        folder.keep(record)

    def part(self) -> None:
        """Something else is about to happen to the store than commits: no folder of a fork depends on it any more."""
        if self._folders:
            for folders in self._folders.values():
                for folder in folders:
                    folder.materialise()
            self._folders = {}
            self._workbench.backend.before.remove(self._look)
