"""Snapshots of a store in memory: taken at once, restored at the cost of what was touched since.

A snapshot keeps what each folder was just before it was first changed; folders that nobody changed cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from emulator import changes
from emulator.changes import Change, MemoryBackend
from emulator.folder import Folder, Mailbox, Message
from protocols.ports import NotPermitted

from .archive import Archive, ObservedBackend

if TYPE_CHECKING:
    from emulator.server import Server

SNAPSHOTS_MAX = 100
_SCALARS = (
    *("created", "deleted", "description", "first_recent_uid", "gone", "closing", "highest_modseq", "name", "owner"),
    *("posting", "selectable", "size", "special_use", "uid_next", "uid_validity", "unseen", "vanished_floor"),
)


class _FolderState:
    """What a folder was."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.scalars = {name: getattr(folder, name) for name in _SCALARS}
        self.messages = list(folder.messages)
        self.vanished = folder.vanished.copy()

    def put_back(self) -> None:
        folder = self.folder
        for name, value in self.scalars.items():
            setattr(folder, name, value)
        folder.messages = list(self.messages)
        folder.uids = [message.uid for message in self.messages]
        folder.vanished = self.vanished.copy()
        folder.uid_drawn, folder.modseq_drawn = folder.uid_next - 1, folder.highest_modseq
        folder.messages_pending = 0
        folder.leaving.clear()
        folder.pending_flags.clear()


class Snapshot:
    """The state of a store at one moment."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        store, directory = server.store, server.directory
        self.taken = server.clock.time()
        self.mailboxes = dict(store.mailboxes)
        self.newsgroups = dict(store.newsgroups)
        self.annotations = dict(store.annotations)
        self.directory = {
            key: dict(getattr(directory, key)) for key in ("_passwords", "_tokens", "_lists") if hasattr(directory, key)
        }
        self.by_local = {key: set(names) for key, names in directory._by_local.items()}
        self.touched: dict[int, _FolderState] = {}
        self.mailbox_states: dict[str, tuple[dict[str, Folder], set[str], int]] = {}
        self.flags: dict[Message, tuple[frozenset[str], int]] = {}
        self.new_folders: set[int] = set()


class Snapshots:
    """All snapshots of one server, which must keep its store in memory."""

    def __init__(self, server: Server, backend: ObservedBackend, archive: Archive) -> None:
        self._server = server
        self._backend = backend
        self._archive = archive
        self._all: dict[str, Snapshot] = {}
        self._numbers = count(1)

    def take(self, name: str = "") -> Snapshot:
        """Remember the present. Raises NotPermitted for a durable store."""
        if not isinstance(self._backend.inner, MemoryBackend):
            raise NotPermitted("snapshots need a store in memory: start the server without --data")
        if len(self._all) >= SNAPSHOTS_MAX and name not in self._all:
            raise NotPermitted(f"no more than {SNAPSHOTS_MAX} snapshots: drop one")
        if not self._all:
            self._backend.before.append(self._look)
            self._archive.remember_removed(True)
        snapshot = Snapshot(name or f"s{next(self._numbers)}", self._server)
        self._all[snapshot.name] = snapshot
        return snapshot

    def get(self, name: str) -> Snapshot:
        """Raises NotPermitted."""
        try:
            return self._all[name]
        except KeyError:
            raise NotPermitted(f"no snapshot {name!r}: there are {', '.join(self._all) or 'none'}") from None

    def __iter__(self) -> Any:
        return iter(self._all.values())

    def drop(self, name: str) -> None:
        """Forget a snapshot; when none is left, commits cost nothing more."""
        self._all.pop(name, None)
        if not self._all and self._look in self._backend.before:
            self._backend.before.remove(self._look)
            self._archive.remember_removed(False)

    # --- before each commit -------------------------------------------------------------------------------------------

    def _look(self, records: Sequence[Change]) -> None:
        store = self._server.store
        for snapshot in self._all.values():
            for record in records:
                folder_id = getattr(record, "folder_id", None)
                if folder_id is not None:
                    self._look_at_folder(snapshot, store.folders_by_id.get(folder_id), folder_id)
                if isinstance(record, changes.FolderSaved) and record.mailbox is not None:
                    self._look_at_mailbox(snapshot, store.mailboxes.get(record.mailbox))
                if isinstance(record, changes.FlagsSet):
                    self._look_at_flags(snapshot, record)
                elif isinstance(record, changes.SubscriptionsSet | changes.MailboxDeleted):
                    self._look_at_mailbox(snapshot, store.mailboxes.get(record.mailbox))
                    if isinstance(record, changes.MailboxDeleted) and record.mailbox in store.mailboxes:
                        for folder in store.mailboxes[record.mailbox].folders.values():
                            self._look_at_folder(snapshot, folder, folder.folder_id)

    def _look_at_folder(self, snapshot: Snapshot, folder: Folder | None, folder_id: int) -> None:
        if folder is None:
            snapshot.new_folders.add(folder_id)
        elif folder_id not in snapshot.touched and folder_id not in snapshot.new_folders:
            snapshot.touched[folder_id] = _FolderState(folder)
            self._look_at_mailbox(snapshot, folder.owner)

    @staticmethod
    def _look_at_mailbox(snapshot: Snapshot, mailbox: Mailbox | None) -> None:
        if mailbox is None or mailbox.name in snapshot.mailbox_states:
            return
        if snapshot.mailboxes.get(mailbox.name) is mailbox:
            state = (dict(mailbox.folders), set(mailbox.subscriptions), mailbox.size)
            snapshot.mailbox_states[mailbox.name] = state

    def _look_at_flags(self, snapshot: Snapshot, record: changes.FlagsSet) -> None:
        folder = self._server.store.folders_by_id.get(record.folder_id)
        if folder is None or record.folder_id in snapshot.new_folders:
            return
        for uid, _ in record.flags:
            message = folder.by_uid(uid)
            if message is not None and message not in snapshot.flags:
                snapshot.flags[message] = (message.flags, message.modseq)

    # --- going back ---------------------------------------------------------------------------------------------------

    def restore(self, name: str) -> None:
        """Make the store what it was; the snapshot stays, later ones are dropped. Raises NotPermitted.

        Sessions that have a restored folder selected are told that it is gone, as after a restore from a backup; UIDs
        given since will be given again. Call on the server's event loop.
        """
        snapshot = self.get(name)
        later = list(self._all)[list(self._all).index(snapshot.name) + 1 :]
        for each in later:
            self.drop(each)
        store = self._server.store
        listeners = []
        for folder_id in snapshot.new_folders:
            folder = store.folders_by_id.pop(folder_id, None)
            if folder is not None:
                listeners += [(folder, listener) for listener in folder.listeners]
                folder.gone = True
                self._take_out(folder.messages)
        for folder_id, state in snapshot.touched.items():
            folder = state.folder
            listeners += [(folder, listener) for listener in folder.listeners]
            self._put_back(state)
            store.folders_by_id[folder_id] = folder
        for message, (flags, modseq) in snapshot.flags.items():
            message.flags, message.modseq = flags, modseq
        self._names_back(snapshot)
        for folder, listener in listeners:
            folder.unlisten(listener)
            listener.folder_gone(folder)
        snapshot.new_folders.clear()
        snapshot.touched.clear()
        snapshot.mailbox_states.clear()
        snapshot.flags.clear()
        if len(self._all) == 1:
            self._archive.remember_removed(True)

    def _put_back(self, state: _FolderState) -> None:
        folder = state.folder
        kept = set(state.messages)
        present = set() if folder.gone else set(folder.messages)
        self._take_out([message for message in folder.messages if message not in kept and not message.expunged])
        state.put_back()
        store = self._server.store
        for message in state.messages:
            if message not in present or message.expunged:
                message.expunged = False
                content = message.content = store._contents.setdefault(message.content.digest, message.content)
                content.references += 1
                if folder.owner is None and content.message_id:
                    store._message_ids.setdefault(content.message_id, []).append(message)
                self._archive.put_back(message)

    def _take_out(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.expunged:
                continue
            message.expunged = True
            self._archive.take_out(message)
            self._server.store._forget(message)

    def _names_back(self, snapshot: Snapshot) -> None:
        store, directory = self._server.store, self._server.directory
        store.mailboxes.clear()
        store.mailboxes.update(snapshot.mailboxes)
        store.newsgroups.clear()
        store.newsgroups.update(snapshot.newsgroups)
        store.annotations.clear()
        store.annotations.update(snapshot.annotations)
        for name, (folders, subscriptions, size) in snapshot.mailbox_states.items():
            mailbox = snapshot.mailboxes[name]
            mailbox.folders = dict(folders)
            mailbox.subscriptions = set(subscriptions)
            mailbox.size, mailbox.size_pending = size, 0
        for key, values in snapshot.directory.items():
            mapping = getattr(directory, key)
            mapping.clear()
            mapping.update(values)
        directory._by_local.clear()
        directory._by_local.update({key: set(names) for key, names in snapshot.by_local.items()})
