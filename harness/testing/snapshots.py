"""Snapshots of a store in memory: taken at once, restored at the cost of what changed since.

Each snapshot has a journal of the changes after it, up to the next snapshot: what has to be done to take each back.
Restoring walks the journals backwards. Nothing is copied when a snapshot is taken but the names of accounts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from emulator import changes
from emulator.changes import Change, MemoryBackend
from emulator.directory import split_address
from emulator.folder import Folder, Mailbox, Message
from protocols.ports import NotPermitted

from .archive import Archive, ObservedBackend

if TYPE_CHECKING:
    from emulator.server import Server
    from emulator.store import Store

    from .fork import Forks

SNAPSHOTS_MAX = 100
INSERTIONS_MAX = 16
"""So many messages are put back one by one; more of them are merged into the folder at once."""
_SCALARS = (
    *("created", "deleted", "description", "first_recent_uid", "gone", "highest_modseq", "name", "owner"),
    *("posting", "selectable", "size", "special_use", "uid_next", "uid_validity", "unseen", "vanished_floor"),
)
_ACCOUNTS = ("_passwords", "_tokens", "_lists")
Undo = Callable[["Restoring"], None]


class Snapshot:
    """The state of a store at one moment: what must be undone to come back to it from the next snapshot."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.taken = server.clock.time()
        self.accounts = {key: dict(getattr(server.directory, key)) for key in _ACCOUNTS}
        self.journal: list[Undo] = []
        """How to take back each change, in the order of the changes."""
        self.folders: dict[int, tuple[Folder, dict[str, Any]]] = {}
        """What folders were that have changed since, their messages apart."""
        self.mailboxes: dict[str, tuple[Mailbox, dict[str, Folder], set[str], int]] = {}
        """What mailboxes were that have changed since."""
        self.names: dict[str, dict[Any, Any]] = {}
        """Whole tables of the store (`mailboxes`, `newsgroups`, `annotations`) that have changed since."""

    def take_in(self, later: Snapshot) -> None:
        """The next snapshot is dropped: its changes are ours now."""
        self.journal += later.journal
        self.folders = {**later.folders, **self.folders}
        self.mailboxes = {**later.mailboxes, **self.mailboxes}
        self.names = {**later.names, **self.names}

    def forget_changes(self) -> None:
        """The store is here again."""
        self.journal.clear()
        self.folders.clear()
        self.mailboxes.clear()
        self.names.clear()


class Restoring:
    """One walk back."""

    def __init__(self, store: Store, archive: Archive) -> None:
        self.store = store
        self.archive = archive
        self.listeners: list[tuple[Folder, Any]] = []
        """Whoever watches a folder that is not what it was."""

    def take_out(self, folder: Folder, message: Message) -> None:
        """A message was not there yet."""
        if message.expunged:
            return
        message.expunged = True
        self.archive.take_out(message)
        self.store._forget(message)
        if folder.uids and folder.uids[-1] == message.uid:
            folder.uids.pop()
            folder.messages.pop()
            return
        index = bisect_left(folder.uids, message.uid)
        if folder.messages[index : index + 1] == [message]:
            del folder.messages[index], folder.uids[index]

    def put_back(self, folder: Folder, messages: Sequence[Message]) -> None:
        """Messages were still there."""
        for message in messages:
            self.revive(folder, message)
        if len(messages) <= INSERTIONS_MAX:
            for message in messages:
                index = bisect_left(folder.uids, message.uid)
                folder.uids.insert(index, message.uid)
                folder.messages.insert(index, message)
        else:
            folder.messages = sorted([*folder.messages, *messages], key=lambda message: message.uid)
            folder.uids = [message.uid for message in folder.messages]

    def revive(self, folder: Folder, message: Message) -> None:
        """A message that was gone is there again: for its content, its Message-ID and the archive."""
        store = self.store
        message.expunged = False
        content = message.content = store._contents.setdefault(message.content.digest, message.content)
        content.references += 1
        if folder.owner is None and content.message_id:
            store._message_ids.setdefault(content.message_id, []).append(message)
        self.archive.put_back(message)


class Snapshots:
    """All snapshots of one server, which must keep its store in memory."""

    def __init__(self, server: Server, backend: ObservedBackend, archive: Archive, forks: Forks) -> None:
        self._server = server
        self._forks = forks
        self._backend = backend
        self._archive = archive
        self._all: dict[str, Snapshot] = {}
        self._numbers = count(1)

    def take(self, name: str = "") -> Snapshot:
        """Remember the present. Raises NotPermitted for a durable store."""
        if not isinstance(self._backend.inner, MemoryBackend):
            raise NotPermitted("snapshots need a store in memory: start the server without --data")
        if name in self._all:
            self.drop(name)
        if len(self._all) >= SNAPSHOTS_MAX:
            raise NotPermitted(f"no more than {SNAPSHOTS_MAX} snapshots: drop one")
        if not self._all:
            self._backend.before.append(self._look)
            self._server.store.before_unrecorded = self.look_at_folder
            self._archive.remember_removed(True)
        snapshot = Snapshot(name or self._free_name(), self._server)
        self._all[snapshot.name] = snapshot
        return snapshot

    def _free_name(self) -> str:
        return next(name for number in self._numbers if (name := f"s{number}") not in self._all)

    def get(self, name: str) -> Snapshot:
        """Raises NotPermitted."""
        try:
            return self._all[name]
        except KeyError:
            raise NotPermitted(f"no snapshot {name!r}: there are {', '.join(self._all) or 'none'}") from None

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(self._all.values())

    def drop(self, name: str) -> None:
        """Forget a snapshot; when none is left, commits cost nothing more."""
        if name not in self._all:
            return
        names = list(self._all)
        before = names[: names.index(name)]
        dropped = self._all.pop(name)
        if before:
            self._all[before[-1]].take_in(dropped)
        if not self._all and self._look in self._backend.before:
            self._backend.before.remove(self._look)
            self._server.store.before_unrecorded = None
            self._archive.remember_removed(False)

    def take_over(self, other: Snapshots) -> None:
        """Go on with the snapshots of an ended server that had the same store."""
        self._all, self._numbers = other._all, other._numbers
        if self._all:
            self._backend.before.append(self._look)
            self._server.store.before_unrecorded = self.look_at_folder
        else:
            self._server.store.before_unrecorded = None

    # --- before each commit -------------------------------------------------------------------------------------------

    @property
    def _newest(self) -> Snapshot | None:
        return next(reversed(self._all.values()), None)

    def _look(self, records: Sequence[Change]) -> None:
        """Write down how to take these records back: they are applied next."""
        snapshot = self._newest
        assert snapshot is not None
        store = self._server.store
        for record in records:
            folder_id = getattr(record, "folder_id", None)
            folder = store.folders_by_id.get(folder_id) if folder_id is not None else None
            if folder is not None:
                self.look_at_folder(folder)
            if isinstance(record, changes.Appended):
                snapshot.journal.append(_undo_append(record.folder_id, record.uid))
            elif isinstance(record, changes.Expunged) and folder is not None:
                snapshot.journal.append(_undo_expunge(folder, record, store.settings.vanished_remembered_max))
            elif isinstance(record, changes.FlagsSet) and folder is not None:
                snapshot.journal.append(_undo_flags(folder, record))
            elif isinstance(record, changes.FolderSaved):
                self._look_at_saved(snapshot, record, folder)
            elif isinstance(record, changes.FolderDeleted) and folder is not None:
                self._look_at_deleted(snapshot, [folder])
            elif isinstance(record, changes.SubscriptionsSet):
                self._look_at_mailbox(snapshot, store.mailboxes.get(record.mailbox))
            elif isinstance(record, changes.MailboxMade | changes.MailboxDeleted):
                self._look_at_names(snapshot, "mailboxes")
                mailbox = store.mailboxes.get(record.mailbox)
                if isinstance(record, changes.MailboxDeleted) and mailbox is not None:
                    self._look_at_mailbox(snapshot, mailbox)
                    self._look_at_deleted(snapshot, list(mailbox.folders.values()))
            elif isinstance(record, changes.AnnotationSet):
                self._look_at_names(snapshot, "annotations")

    def look_at_folder(self, folder: Folder) -> None:
        """Keep what a folder is, its messages apart: it is about to change."""
        snapshot = self._newest
        if snapshot is not None and folder.folder_id not in snapshot.folders:
            scalars = {name: getattr(folder, name) for name in _SCALARS}
            snapshot.folders[folder.folder_id] = (folder, scalars)
            self._look_at_mailbox(snapshot, folder.owner)

    def look_at_numbers(self, folder: Folder) -> None:
        """Keep the UIDs and the order of a folder's messages: they are about to change."""
        self._forks.part()
        snapshot = self._newest
        if snapshot is None:
            return
        self.look_at_folder(folder)
        messages, uids, vanished = list(folder.messages), list(folder.uids), folder.vanished.copy()

        def undo(restoring: Restoring) -> None:
            for message in messages:
                restoring.archive.forget_copy(message)
            for message, uid in zip(messages, uids, strict=True):
                message.uid = uid
            folder.messages, folder.uids, folder.vanished = list(messages), list(uids), vanished.copy()
            for message in messages:
                restoring.archive.know_copy(message)

        snapshot.journal.append(undo)

    def look_at_date(self, message: Message) -> None:
        """Keep the INTERNALDATE of a message: it is about to change."""
        self._forks.part()
        snapshot = self._newest
        if snapshot is not None:
            date = message.internal_date
            snapshot.journal.append(lambda _: setattr(message, "internal_date", date))

    def _look_at_saved(self, snapshot: Snapshot, record: changes.FolderSaved, folder: Folder | None) -> None:
        if record.mailbox is None:
            self._look_at_names(snapshot, "newsgroups")
        else:
            self._look_at_mailbox(snapshot, self._server.store.mailboxes.get(record.mailbox))
        if folder is None:
            snapshot.journal.append(_undo_new_folder(record.folder_id))

    def _look_at_deleted(self, snapshot: Snapshot, folders: Sequence[Folder]) -> None:
        self._look_at_names(snapshot, "annotations")
        for folder in folders:
            self.look_at_folder(folder)
            if folder.owner is None:
                self._look_at_names(snapshot, "newsgroups")
            snapshot.journal.append(_undo_delete(folder))

    def _look_at_names(self, snapshot: Snapshot, table: str) -> None:
        if table not in snapshot.names:
            snapshot.names[table] = dict(getattr(self._server.store, table))

    @staticmethod
    def _look_at_mailbox(snapshot: Snapshot, mailbox: Mailbox | None) -> None:
        if mailbox is not None and mailbox.name not in snapshot.mailboxes:
            state = (mailbox, dict(mailbox.folders), set(mailbox.subscriptions), mailbox.size)
            snapshot.mailboxes[mailbox.name] = state

    # --- going back ---------------------------------------------------------------------------------------------------

    def restore(self, name: str) -> None:
        """Make the store what it was; the snapshot stays, later ones are dropped. Raises NotPermitted.

        Sessions that have a restored folder selected are told that it is gone, as after a restore from a backup; UIDs
        given since will be given again. Call on the server's event loop.
        """
        snapshot = self.get(name)
        self._forks.part()
        store = self._server.store
        restoring = Restoring(store, self._archive)
        for later in reversed(list(self._all.values())):
            for undo in reversed(later.journal):
                undo(restoring)
            self._put_back(later, restoring)
            later.forget_changes()
            if later is snapshot:
                break
            del self._all[later.name]
        for key, accounts in snapshot.accounts.items():
            mapping = getattr(self._server.directory, key)
            mapping.clear()
            mapping.update(accounts)
        for folder, listener in restoring.listeners:
            folder.unlisten(listener)
            listener.folder_gone(folder)
        if len(self._all) == 1:
            self._archive.remember_removed(True)

    def _put_back(self, snapshot: Snapshot, restoring: Restoring) -> None:
        store = self._server.store
        for folder, scalars in snapshot.folders.values():
            restoring.listeners += [(folder, listener) for listener in folder.listeners]
            for name, value in scalars.items():
                setattr(folder, name, value)
            folder.uid_drawn, folder.modseq_drawn = folder.uid_next - 1, folder.highest_modseq
            folder.messages_pending = 0
            folder.closing = False
            folder.leaving.clear()
            folder.pending_flags.clear()
        for table, names in snapshot.names.items():
            present = getattr(store, table)
            if table == "mailboxes":
                self._index(present, names)
            present.clear()
            present.update(names)
        for mailbox, folders, subscriptions, size in snapshot.mailboxes.values():
            mailbox.folders, mailbox.subscriptions = dict(folders), set(subscriptions)
            mailbox.size, mailbox.size_pending = size, 0

    def _index(self, present: dict[str, Any], names: dict[str, Any]) -> None:
        """The directory finds mailboxes that were there, and no others."""
        directory = self._server.directory
        for made in present.keys() - names.keys():
            local = split_address(made)[0]
            known = directory._by_local.get(local, set())
            known.discard(made)
            if not known:
                directory._by_local.pop(local, None)
        for deleted in names.keys() - present.keys():
            directory._index(deleted)


# --- how to take back one change --------------------------------------------------------------------------------------


def _undo_append(folder_id: int, uid: int) -> Undo:
    def undo(restoring: Restoring) -> None:
        folder = restoring.store.folders_by_id.get(folder_id)
        message = folder.by_uid(uid) if folder is not None else None
        if folder is not None and message is not None:
            restoring.take_out(folder, message)

    return undo


def _undo_expunge(folder: Folder, record: changes.Expunged, remembered_max: int) -> Undo:
    found = (folder.by_uid(uid) for uid in record.uids)
    gone = [message for message in found if message is not None]
    overflow = len(folder.vanished) + len(gone) - remembered_max
    trimmed = list(islice(folder.vanished, overflow)) if overflow > 0 else []

    def undo(restoring: Restoring) -> None:
        for _ in range(min(len(gone), len(folder.vanished))):
            folder.vanished.pop()
        folder.vanished.extendleft(reversed(trimmed))
        restoring.put_back(folder, gone)

    return undo


def _undo_flags(folder: Folder, record: changes.FlagsSet) -> Undo:
    found = (folder.by_uid(uid) for uid, _ in record.flags)
    before = [(message, message.flags, message.modseq) for message in found if message is not None]

    def undo(restoring: Restoring) -> None:
        for message, flags, modseq in before:
            message.flags, message.modseq = flags, modseq

    return undo


def _undo_new_folder(folder_id: int) -> Undo:
    def undo(restoring: Restoring) -> None:
        folder = restoring.store.folders_by_id.pop(folder_id, None)
        if folder is not None:
            restoring.listeners += [(folder, listener) for listener in folder.listeners]
            folder.gone = True

    return undo


def _undo_delete(folder: Folder) -> Undo:
    messages = list(folder.messages)

    def undo(restoring: Restoring) -> None:
        restoring.store.folders_by_id[folder.folder_id] = folder
        for message in messages:
            restoring.revive(folder, message)

    return undo
