"""The information store: mailboxes, folders, newsgroups, messages, UIDs, flags, mod-sequences. No protocol bytes.

Order of a change: decide (UIDs and mod-sequences are drawn here), commit to the backend, apply to the index, tell the
listeners, return. So nobody sees, and nobody is told of, what is not durable; what raised was not done. A backend
commits in the order of the calls, so changes are applied in that order too.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from protocols.ports import (
    AlreadyExists,
    InUse,
    NoSuchMailbox,
    NotPermitted,
    OverQuota,
    Target,
)

from . import changes
from .changes import Backend, Change, MemoryBackend
from .content import Content, digest_of
from .folder import DELETED, SEEN, Folder, Mailbox, Message

if TYPE_CHECKING:
    from .config import Settings
    from .properties import PropertyMessage

__all__ = ["Folder", "Mailbox", "Message", "Store"]


class Store:
    """Everything that is kept. Front-ends see it as `protocols.ports.Store`."""

    def __init__(
        self, settings: Settings, backend: Backend | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.backend: Backend = backend or MemoryBackend()
        self.mailboxes: dict[str, Mailbox] = {}
        self.newsgroups: dict[str, Folder] = {}
        self.folders_by_id: dict[int, Folder] = {}
        self.annotations: dict[tuple[str, str], bytes] = {}
        self.spool_done: set[str] = set()
        self._contents: dict[bytes, Content] = {}
        self._message_ids: dict[bytes, list[Message]] = {}
        self._now = now
        self._next_folder_id = 1
        self._last_uid_validity = 0

    # --- finding ------------------------------------------------------------------------------------------------------

    def mailbox(self, user: str) -> Mailbox:
        """Raises NoSuchMailbox."""
        try:
            return self.mailboxes[user]
        except KeyError:
            raise NoSuchMailbox(f"no mailbox {user}") from None

    def newsgroup(self, name: str) -> Folder:
        """Raises NoSuchMailbox."""
        try:
            return self.newsgroups[name]
        except KeyError:
            raise NoSuchMailbox(f"no newsgroup {name}") from None

    def find_message_id(self, message_id: bytes) -> Sequence[Message]:
        """All copies in newsgroups of the article with that Message-ID, angle brackets included."""
        return self._message_ids.get(message_id, ())

    async def read(self, message: Message) -> PropertyMessage:
        """The property message of a message. Raises Unavailable."""
        return await self.backend.read(message.content)

    # --- mailboxes, folders, newsgroups -------------------------------------------------------------------------------

    def _new_folder(self, owner: Mailbox | None, name: str) -> Folder:
        self._last_uid_validity = max(self._last_uid_validity + 1, int(self._now()))
        folder = Folder(self._next_folder_id, owner, name, self._last_uid_validity, self._now())
        self._next_folder_id += 1
        return folder

    def _add_folder(self, folder: Folder) -> None:
        self.folders_by_id[folder.folder_id] = folder
        if folder.owner is None:
            self.newsgroups[folder.name] = folder
        else:
            folder.owner.folders[folder.name] = folder

    async def create_mailbox(self, name: str) -> Mailbox:
        """The mailbox of that name, made with INBOX and the default folders if it is not there."""
        if name in self.mailboxes:
            return self.mailboxes[name]
        mailbox = Mailbox(name)
        folders = [self._new_folder(mailbox, "INBOX")]
        for folder_name, special_use in self.settings.default_folders:
            folder = self._new_folder(mailbox, folder_name)
            folder.special_use = special_use
            folders.append(folder)
        names = tuple(folder.name for folder in folders)
        await self.backend.commit(
            [
                changes.MailboxMade(name),
                *(folder.saved() for folder in folders),
                changes.SubscriptionsSet(name, names),
            ]
        )
        if name in self.mailboxes:  # made by another task meanwhile; the backend ignores the second MailboxMade
            return self.mailboxes[name]
        mailbox.subscriptions.update(names)
        self.mailboxes[name] = mailbox
        for folder in folders:
            self._add_folder(folder)
        return mailbox

    async def create_folder(self, mailbox: Mailbox, name: str, *, special_use: str = "") -> Folder:
        """Make a folder, and the levels above it. Raises AlreadyExists, OverQuota."""
        existing = mailbox.folders.get(name)
        if existing is not None and existing.selectable:
            raise AlreadyExists(f"{name} exists")
        if len(mailbox.folders) >= self.settings.folders_per_mailbox_max:
            raise OverQuota(f"no more than {self.settings.folders_per_mailbox_max} folders can be made")
        parts = name.split("/")
        made = []
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if above not in mailbox.folders:
                made.append(self._new_folder(mailbox, above))
        folder = self._new_folder(mailbox, name)
        folder.special_use = special_use
        made.append(folder)
        records: list[Change] = [made_folder.saved() for made_folder in made]
        if existing is not None:
            records.insert(0, changes.FolderDeleted(existing.folder_id))
        await self.backend.commit(records)
        if existing is not None:
            self.folders_by_id.pop(existing.folder_id, None)
        for made_folder in made:
            self._add_folder(made_folder)
        return folder

    async def delete_folder(self, folder: Folder) -> None:
        """Delete a folder and its messages; one with levels below stays as a \\Noselect name (RFC 9051 6.3.5).

        Raises NotPermitted for INBOX and for a \\Noselect name with levels below.
        """
        mailbox = folder.owner
        if mailbox is None:
            await self.delete_newsgroup(folder.name)
            return
        if folder.name == "INBOX":
            raise NotPermitted("INBOX cannot be deleted")
        below = folder.name + "/"
        children = any(name.startswith(below) for name in mailbox.folders)
        if children and not folder.selectable:
            raise NotPermitted(f"{folder.name} has folders below it")
        records: list[Change] = [changes.FolderDeleted(folder.folder_id)]
        placeholder = None
        if children:
            placeholder = self._new_folder(mailbox, folder.name)
            placeholder.selectable = False
            records.append(placeholder.saved())
        await self.backend.commit(records)
        mailbox.folders.pop(folder.name, None)
        self._drop_folder(folder)
        if placeholder is not None:
            self._add_folder(placeholder)

    def _drop_folder(self, folder: Folder) -> None:
        folder.gone = True
        self.folders_by_id.pop(folder.folder_id, None)
        for message in folder.messages:
            message.expunged = True
            self._forget(message)
        if folder.owner is not None:
            folder.owner.size -= folder.size
        for listener in folder.listeners:
            listener.folder_gone(folder)
        folder.listeners = []

    async def rename_folder(self, folder: Folder, name: str) -> None:
        """Rename a folder and the levels below it; INBOX keeps its name and gives its messages away (RFC 9051 6.3.6).

        Raises AlreadyExists, NotPermitted.
        """
        mailbox = folder.owner
        if mailbox is None:
            raise NotPermitted("a newsgroup cannot be renamed")
        if name in mailbox.folders or name.upper() == "INBOX":
            raise AlreadyExists(f"{name} exists")
        if folder.name == "INBOX":
            target = await self.create_folder(mailbox, name)
            await self.move(list(folder.messages), target)
            return
        below = folder.name + "/"
        if name.startswith(below):
            raise NotPermitted("a folder cannot be moved below itself")
        moved = [folder, *(other for other in mailbox.folders.values() if other.name.startswith(below))]
        names = {other.folder_id: name + other.name[len(folder.name) :] for other in moved}
        if any(new in mailbox.folders for new in names.values()):
            raise AlreadyExists(f"{name} has folders of those names below it")
        parts = name.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        made = [self._new_folder(mailbox, each) for each in above if each not in mailbox.folders]
        await self.backend.commit(
            [
                *(each.saved() for each in made),
                *(replace(each.saved(), name=names[each.folder_id]) for each in moved),
            ]
        )
        for each in moved:
            mailbox.folders.pop(each.name, None)
        for each in moved:
            each.name = names[each.folder_id]
            mailbox.folders[each.name] = each
        for each in made:
            self._add_folder(each)

    async def subscribe(self, mailbox: Mailbox, name: str, subscribed: bool) -> None:
        """Add or take a name from the subscriptions; the name need not exist (RFC 9051 section 6.3.7)."""
        names = set(mailbox.subscriptions)
        if subscribed:
            names.add(name)
        else:
            names.discard(name)
        if names == mailbox.subscriptions:
            return
        if len(names) > 2 * self.settings.folders_per_mailbox_max:
            raise OverQuota("too many subscriptions")
        await self.backend.commit([changes.SubscriptionsSet(mailbox.name, tuple(sorted(names)))])
        mailbox.subscriptions = names

    async def create_newsgroup(self, name: str, *, description: str = "", posting: str = "y") -> Folder:
        """A newsgroup, which is a public folder. Raises AlreadyExists."""
        if name in self.newsgroups:
            raise AlreadyExists(f"newsgroup {name} exists")
        folder = self._new_folder(None, name)
        folder.description, folder.posting = description, posting
        await self.backend.commit([folder.saved()])
        if name in self.newsgroups:
            raise AlreadyExists(f"newsgroup {name} exists")
        self._add_folder(folder)
        return folder

    async def delete_newsgroup(self, name: str) -> None:
        """Raises NoSuchMailbox."""
        folder = self.newsgroup(name)
        await self.backend.commit([changes.FolderDeleted(folder.folder_id)])
        self.newsgroups.pop(name, None)
        self._drop_folder(folder)

    async def save_folder(self, folder: Folder) -> None:
        """Keep what was changed about a folder (description, posting, special use, first recent UID)."""
        await self.backend.commit([folder.saved()])

    async def annotate(self, scope: str, key: str, value: bytes | None) -> None:
        """Keep a named value (METADATA, ACL, quota); None removes it."""
        await self.backend.commit([changes.AnnotationSet(scope, key, value)])
        if value is None:
            self.annotations.pop((scope, key), None)
        else:
            self.annotations[scope, key] = value

    # --- messages -----------------------------------------------------------------------------------------------------

    def content_of(self, message: PropertyMessage, octets: bytes) -> Content:
        """The content with these octets: the one that is there already, or a new one."""
        digest = digest_of(octets)
        return self._contents.get(digest) or Content(digest, len(octets), message, message.message_id)

    async def append(
        self, items: Sequence[tuple[Content, Sequence[Target]]], *, spool_name: str | None = None
    ) -> list[list[Message]]:
        """Put contents into folders, all or none, in one commit: the new messages of each item, in order.

        `spool_name`: remember in the same commit that this spool file was delivered.
        Raises OverQuota, NoSuchMailbox, Unavailable.
        """
        now = self._now()
        new: list[list[Message]] = []
        records: list[Change] = []
        for content, targets in items:
            messages = []
            for target in targets:
                folder: Folder = target.folder
                self._check_room(folder, content.size)
                date = now if target.internal_date is None else target.internal_date
                message = self._draw(folder, target.flags, date, target.zone_minutes, now, content)
                messages.append(message)
                records.append(_appended(message))
            new.append(messages)
        if spool_name is not None:
            records.append(changes.SpoolDone(spool_name))
        await self.backend.commit(records)
        if spool_name is not None:
            self.spool_done.add(spool_name)
        self._insert([message for messages in new for message in messages])
        return new

    def _check_room(self, folder: Folder, size: int) -> None:
        if folder.gone or not folder.selectable:
            raise NoSuchMailbox(f"{folder.name} is not there any more")
        if len(folder.messages) >= self.settings.messages_per_folder_max:
            raise OverQuota(f"{folder.name} has {self.settings.messages_per_folder_max} messages")
        quota = self.settings.mailbox_bytes_max
        if quota and folder.owner is not None and folder.owner.size + size > quota:
            raise OverQuota(f"mailbox {folder.owner.name} is over its quota of {quota} octets")

    def _draw(
        self, folder: Folder, flags: frozenset[str], date: float, zone_minutes: int, now: float, content: Content
    ) -> Message:
        """A message with the next UID and mod-sequence, not in the folder yet."""
        uid = folder.uid_next
        folder.uid_next = uid + 1
        folder.highest_modseq += 1
        return Message(folder, uid, folder.highest_modseq, flags, date, zone_minutes, now, content)

    def _insert(self, messages: Iterable[Message]) -> None:
        for message in messages:
            folder, content = message.folder, message.content
            if folder.gone:
                continue
            content = message.content = self._contents.setdefault(content.digest, content)
            content.references += 1
            folder.messages.append(message)
            folder.uids.append(message.uid)
            folder.size += content.size
            if SEEN not in message.flags:
                folder.unseen += 1
            if DELETED in message.flags:
                folder.deleted += 1
            if folder.owner is not None:
                folder.owner.size += content.size
            elif content.message_id:
                self._message_ids.setdefault(content.message_id, []).append(message)
            for listener in folder.listeners:
                listener.appended(message)

    async def copy(self, messages: Sequence[Message], target: Folder) -> list[Message]:
        """Copy with flags and INTERNALDATE, all or none (RFC 9051 section 6.4.7). Raises OverQuota, NoSuchMailbox."""
        new = self._draw_copies(messages, target)
        await self.backend.commit([_appended(message) for message in new])
        self._insert(new)
        return new

    def _draw_copies(self, messages: Sequence[Message], target: Folder) -> list[Message]:
        self._check_room(target, sum(message.size for message in messages))
        now = self._now()
        return [
            self._draw(target, m.flags, m.internal_date, m.zone_minutes, now, m.content)
            for m in messages
            if not m.expunged
        ]

    async def move(self, messages: Sequence[Message], target: Folder) -> list[Message]:
        """Copy and expunge in one commit (RFC 6851 section 3.3)."""
        if not messages:
            return []
        there = [message for message in messages if not message.expunged]
        new = self._draw_copies(there, target)
        source = messages[0].folder
        expunge = self._draw_expunge(source, there)
        await self.backend.commit([*(_appended(message) for message in new), expunge])
        self._insert(new)
        self._remove(source, there, expunge.modseq)
        return new

    async def set_flags(
        self,
        folder: Folder,
        messages: Iterable[Message],
        mode: str,
        flags: frozenset[str],
        *,
        unchanged_since: int | None = None,
    ) -> tuple[list[Message], list[Message]]:
        """Set flags: `mode` is `+`, `-` or `=`. Messages that already had them keep their mod-sequence.

        Returns (messages now having the flags, messages that failed `unchanged_since`, RFC 7162 section 3.1.3).
        """
        done: list[Message] = []
        failed: list[Message] = []
        changed: list[tuple[Message, frozenset[str]]] = []
        pending = folder.pending_flags
        for message in messages:
            if message.expunged:
                continue
            if unchanged_since is not None and message.modseq > unchanged_since:
                failed.append(message)
                continue
            done.append(message)
            old = pending.get(message.uid, message.flags)
            new = old | flags if mode == "+" else old - flags if mode == "-" else flags
            if new != old:
                changed.append((message, new))
        if changed:
            await self._commit_flags(folder, changed)
        return done, failed

    async def _commit_flags(self, folder: Folder, changed: Sequence[tuple[Message, frozenset[str]]]) -> None:
        pending = folder.pending_flags
        folder.highest_modseq += 1
        modseq = folder.highest_modseq
        for message, new in changed:
            pending[message.uid] = new
        record = changes.FlagsSet(folder.folder_id, modseq, tuple((message.uid, new) for message, new in changed))
        try:
            await self.backend.commit([record])
        finally:
            for message, new in changed:
                if pending.get(message.uid) is new:
                    del pending[message.uid]
        for message, new in changed:
            if message.expunged:
                continue
            old, message.flags, message.modseq = message.flags, new, modseq
            folder.unseen += (SEEN not in new) - (SEEN not in old)
            folder.deleted += (DELETED in new) - (DELETED in old)
            for listener in folder.listeners:
                listener.flags_changed(message)

    def _draw_expunge(self, folder: Folder, messages: Sequence[Message]) -> changes.Expunged:
        folder.highest_modseq += 1
        return changes.Expunged(folder.folder_id, folder.highest_modseq, tuple(message.uid for message in messages))

    async def expunge(self, folder: Folder, messages: Iterable[Message]) -> list[int]:
        """Remove messages for good: the UIDs that this call removed, ascending."""
        there = sorted((m for m in messages if not m.expunged and m.folder is folder), key=lambda m: m.uid)
        if not there:
            return []
        record = self._draw_expunge(folder, there)
        await self.backend.commit([record])
        return self._remove(folder, there, record.modseq)

    def _remove(self, folder: Folder, messages: Sequence[Message], modseq: int) -> list[int]:
        gone = [message for message in messages if not message.expunged]
        for message in gone:
            message.expunged = True
            folder.vanished.append((modseq, message.uid))
            folder.size -= message.size
            folder.unseen -= SEEN not in message.flags
            folder.deleted -= DELETED in message.flags
            if folder.owner is not None:
                folder.owner.size -= message.size
            self._forget(message)
        while len(folder.vanished) > self.settings.vanished_remembered_max:
            folder.vanished_floor = max(folder.vanished_floor, folder.vanished.popleft()[0])
        if len(gone) == 1:
            index = bisect_left(folder.uids, gone[0].uid)
            del folder.messages[index]
            del folder.uids[index]
        elif gone:
            folder.messages = [message for message in folder.messages if not message.expunged]
            folder.uids = [message.uid for message in folder.messages]
        if gone:
            for listener in folder.listeners:
                listener.expunged(gone)
        return [message.uid for message in gone]

    def _forget(self, message: Message) -> None:
        content = message.content
        if message.folder.owner is None:
            copies = self._message_ids.get(content.message_id)
            if copies and message in copies:
                copies.remove(message)
                if not copies:
                    del self._message_ids[content.message_id]
        content.references -= 1
        if content.references <= 0:
            self._contents.pop(content.digest, None)

    async def forget_spool_name(self, spool_name: str) -> None:
        """The spool file is gone, so that its name need not be remembered. Not worth a sync of its own."""
        if spool_name in self.spool_done:
            self.spool_done.discard(spool_name)
            self.backend.remember_later(changes.SpoolForgotten(spool_name))

    # --- the maildrop -------------------------------------------------------------------------------------------------

    def lock_maildrop(self, mailbox: Mailbox, owner: object) -> None:
        """Raises InUse while another session has it (RFC 1939 section 3)."""
        if mailbox.locked_by is not None and mailbox.locked_by is not owner:
            raise InUse("the maildrop is in use by another session")
        mailbox.locked_by = owner

    def unlock_maildrop(self, mailbox: Mailbox, owner: object) -> None:
        """No harm for anybody but the holder."""
        if mailbox.locked_by is owner:
            mailbox.locked_by = None


def _appended(message: Message) -> changes.Appended:
    return changes.Appended(
        message.folder.folder_id,
        message.uid,
        message.modseq,
        message.flags,
        message.internal_date,
        message.zone_minutes,
        message.save_date,
        message.content,
    )
