"""The information store: messages, UIDs, flags, mod-sequences over the hierarchy of mailboxes. No protocol bytes.

Order of a change: decide (UIDs and mod-sequences are drawn here), hand it to the backend, and once that says it is
durable apply it to the index, tell the listeners, return. So nobody sees, and nobody is told of, what is not durable;
what raised was not done. A backend settles in the order of the calls, so changes are applied in the order in which they
were decided, and mod-sequences become visible in ascending order. What is decided while others are on their way takes
them into account: `pending_flags`, `closing`, `leaving` and the pending counts of `folder.Folder`.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING

from protocols.ports import InUse, NoSuchMailbox, NoSuchMessage, OverQuota, PortError, Target, Unavailable

from . import changes
from .changes import Backend, Change, Settle
from .content import Content, digest_of
from .folder import DELETED, SEEN, Folder, Mailbox, Message
from .hierarchy import Hierarchy

if TYPE_CHECKING:
    from .config import Settings
    from .properties import PropertyMessage

PIECE_MESSAGES_MAX = 1000
"""Of so many messages at a time flags are set, and so many are moved or expunged, before others have their turn."""
READ_AHEAD_MESSAGES_MAX = 64
READ_AHEAD_BYTES_MAX = 1 << 20
READERS_REMEMBERED_MAX = 1000

__all__ = ["Folder", "Mailbox", "Message", "Store"]


class Store(Hierarchy):
    """Everything that is kept. Front-ends see it as `protocols.ports.Store`."""

    spool_done: set[str]
    """Names of spool files that were delivered and may still be there."""

    def __init__(
        self, settings: Settings, backend: Backend | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(settings, backend, now=now)
        self.spool_done = set()
        self._reads_next: dict[int, int] = {}
        """By folder: the UID that is read next, where somebody reads one after the other from the disk."""

    async def read(self, message: Message) -> PropertyMessage:
        """The property message of a message. Raises Unavailable, NoSuchMessage."""
        content = message.content
        if content.message is not None:
            return await self.backend.read(content)
        return await self.backend.read(content, self._ahead(message))

    def _ahead(self, message: Message) -> Sequence[Content]:
        """What whoever reads a folder from one message to the next will want after this one."""
        folder = message.folder
        index = bisect_left(folder.uids, message.uid)
        in_sequence = self._reads_next.get(folder.folder_id) == message.uid
        ahead: list[Content] = []
        octets = 0
        index += 1
        if in_sequence:
            for other in islice(folder.messages, index, index + READ_AHEAD_MESSAGES_MAX):
                octets += other.size
                if octets > READ_AHEAD_BYTES_MAX:
                    break
                ahead.append(other.content)
            index += len(ahead)
        if len(self._reads_next) >= READERS_REMEMBERED_MAX:
            self._reads_next.clear()
        self._reads_next[folder.folder_id] = folder.uids[index] if index < len(folder.uids) else 0
        return [content for content in ahead if content.message is None]

    # --- putting messages in ------------------------------------------------------------------------------------------

    def content_of(self, message: PropertyMessage, octets: bytes) -> Content:
        """A content with these octets, to append; `append` finds out whether the store has it already."""
        return Content(digest_of(octets), len(octets), message)

    async def append(
        self,
        items: Sequence[tuple[Content, Sequence[Target]]],
        *,
        spool_name: str | None = None,
        spool_file: bool = True,
    ) -> list[list[Message]]:
        """Put contents into folders, all or none, in one commit: the new messages of each item, in order.

        `spool_name`: remember in the same commit that this spool file was delivered (without `spool_file` there is
        none, and nothing to remember).
        Raises OverQuota, NoSuchMailbox, Unavailable.
        """
        new, records, settle = self._prepare_append(items, spool_name, spool_file)
        await self._commit(records, settle)
        return new

    def hand_over(
        self,
        content: Content,
        targets: Sequence[Target],
        done: Callable[[Sequence[Message], Unavailable | None], None],
        *,
        spool_name: str,
        spool_file: bool = True,
    ) -> None:
        """As `append`, of one content, for whoever goes on meanwhile: `done` is called on the event loop.

        Raises OverQuota, NoSuchMailbox: then `done` is not called.
        """
        [new], records, settle = self._prepare_append([(content, targets)], spool_name, spool_file)
        self._hand_over(records, settle, lambda error: done(new, error))

    def _prepare_append(
        self, items: Sequence[tuple[Content, Sequence[Target]]], spool_name: str | None, spool_file: bool
    ) -> tuple[list[list[Message]], list[Change], Settle]:
        now = self._now()
        new: list[list[Message]] = []
        drawn: list[Message] = []
        try:
            for content, targets in items:
                new.append([])
                for target in targets:
                    self._check_room(target.folder, 1, max(0, content.size - target.frees_octets))
                    date = now if target.internal_date is None else target.internal_date
                    message = self._draw(target.folder, target.flags, date, target.zone_minutes, now, content)
                    new[-1].append(message)
                    drawn.append(message)
        except PortError:
            self._undraw(drawn)
            raise
        records: list[Change] = [_appended(message) for message in drawn]
        if spool_name is not None:
            records.append(changes.SpoolDone(spool_name, spool_file))

        def settle(kept: bool) -> None:
            if not kept:
                self._undraw(drawn)
                return
            if spool_name is not None and spool_file:
                self.spool_done.add(spool_name)
            self._insert(drawn)

        return new, records, settle

    async def forget_spool_name(self, spool_name: str) -> None:
        """The spool file is gone for good. Does not wait: forgetting late does no harm."""
        if spool_name in self.spool_done:
            self.spool_done.discard(spool_name)
            self._lazily.append(changes.SpoolForgotten(spool_name))

    def _check_room(self, folder: Folder, messages: int, octets: int) -> None:
        if folder.gone or folder.closing or not folder.selectable:
            raise NoSuchMailbox(f"{folder.name} is not there any more")
        if len(folder.messages) + folder.messages_pending + messages > self.settings.messages_per_folder_max:
            raise OverQuota(f"{folder.name} has {self.settings.messages_per_folder_max} messages")
        quota, owner = self.settings.mailbox_bytes_max, folder.owner
        if quota and octets and owner is not None and owner.size + owner.size_pending + octets > quota:
            raise OverQuota(f"mailbox {owner.name} is over its quota of {quota} octets")

    def _draw(
        self, folder: Folder, flags: frozenset[str], date: float, zone_minutes: int, now: float, content: Content
    ) -> Message:
        """A message with the next UID and mod-sequence, not in the folder yet; it counts against the limits."""
        folder.uid_drawn += 1
        folder.modseq_drawn += 1
        folder.messages_pending += 1
        if folder.owner is not None:
            folder.owner.size_pending += content.size
        content = self._contents.setdefault(content.digest, content)
        content.references += 1
        return Message(folder, folder.uid_drawn, folder.modseq_drawn, flags, date, zone_minutes, now, content)

    def _no_longer_pending(self, message: Message) -> None:
        message.folder.messages_pending -= 1
        if message.folder.owner is not None:
            message.folder.owner.size_pending -= message.content.size

    def _undraw(self, messages: Iterable[Message]) -> None:
        """They could not be kept. Their UIDs stay unused, which is allowed."""
        for message in messages:
            message.expunged = True
            self._no_longer_pending(message)
            self._release(message.content)

    def _insert(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._no_longer_pending(message)
            folder, content = message.folder, message.content
            folder.messages.append(message)
            folder.uids.append(message.uid)
            folder.uid_next = message.uid + 1
            folder.highest_modseq = message.modseq
            self._count(message)
            for listener in folder.listeners:
                listener.appended(message)
            if folder.owner is None and content.message_id:
                self._message_ids.setdefault(content.message_id, []).append(message)

    def _count(self, message: Message) -> None:
        folder = message.folder
        folder.size += message.content.size
        if SEEN not in message.flags:
            folder.unseen += 1
        if DELETED in message.flags:
            folder.deleted += 1
        if folder.owner is not None:
            folder.owner.size += message.content.size

    # --- copying and moving -------------------------------------------------------------------------------------------

    async def copy(self, messages: Sequence[Message], target: Folder) -> list[Message]:
        """Copy with flags and INTERNALDATE, all or none (RFC 9051 section 6.4.7); expunged ones are passed over.

        Raises OverQuota, NoSuchMailbox, Unavailable.
        """
        there = [message for message in messages if not message.expunged]
        if not there:
            return []
        new = self._draw_copies(there, target)

        def settle(kept: bool) -> None:
            if kept:
                self._insert(new)
            else:
                self._undraw(new)

        await self._commit([_appended(message) for message in new], settle)
        return new

    def _draw_copies(self, messages: Sequence[Message], target: Folder, *, grow: bool = True) -> list[Message]:
        """`grow`: whether the originals stay; those that are moved within one mailbox leave its size as it is."""
        grow = grow or messages[0].folder.owner is not target.owner
        self._check_room(target, len(messages), sum(message.size for message in messages) if grow else 0)
        now = self._now()
        copies = []
        for message in messages:
            _, flags = message.folder.pending_flags.get(message.uid) or (0, message.flags)
            copies.append(self._draw(target, flags, message.internal_date, message.zone_minutes, now, message.content))
        return copies

    async def move(self, messages: Sequence[Message], target: Folder) -> list[Message]:
        """Copy and expunge in one commit (RFC 6851 section 3.3); expunged ones are passed over.

        Many messages go in pieces, so that others have their turn: each is here or there, never both, never nowhere.
        Raises NoSuchMessage when another session is removing one of them right now (to move it twice would double it),
        OverQuota, NoSuchMailbox, Unavailable.
        """
        there = [message for message in messages if not message.expunged]
        if not there:
            return []
        grow = there[0].folder.owner is not target.owner
        self._check_room(target, len(there), sum(message.size for message in there) if grow else 0)
        new: list[Message] = []
        async for piece in self._in_pieces(there):
            new.extend(await self._move(piece, target, []))
        return new

    async def _in_pieces(self, messages: Sequence[Message]) -> AsyncIterator[Sequence[Message]]:
        """Those that are still there, some at a time; in between others have their turn."""
        for first in range(0, len(messages), PIECE_MESSAGES_MAX):
            if first:
                await self.pause()
            piece = [message for message in messages[first : first + PIECE_MESSAGES_MAX] if not message.expunged]
            if piece:
                yield piece

    async def _move(self, there: Sequence[Message], target: Folder, made: Sequence[Folder]) -> list[Message]:
        source = there[0].folder
        if any(message.uid in source.leaving for message in there):
            raise NoSuchMessage("another session is removing some of these messages")
        new = self._draw_copies(there, target, grow=False)
        expunge = self._draw_expunge(source, there)

        def settle(kept: bool) -> None:
            source.leaving.difference_update(expunge.uids)
            if not kept:
                self._undraw(new)
                return
            for folder in made:
                self._add_folder(folder)
            self._insert(new)
            self._remove(source, there, expunge.modseq)

        records: list[Change] = [folder.saved() for folder in made]
        await self._commit([*records, *(_appended(message) for message in new), expunge], settle)
        return new

    async def rename_folder(self, folder: Folder, name: str) -> None:
        """Rename a folder and the levels below it; INBOX keeps its name and gives its messages away (RFC 9051 6.3.6).

        Raises AlreadyExists, NotPermitted, NoSuchMailbox, OverQuota, Unavailable.
        """
        mailbox = self._check_rename(folder, name)
        if folder.name != "INBOX":
            async with self._turns.turn(mailbox.name):
                await self._rename(folder, name)
            return
        async with self._turns.turn(mailbox.name):
            self._check_rename(folder, name)
            made = self._levels_above(mailbox, name)
            target = self._new_folder(mailbox, name)
            self._check_folder_count(mailbox, len(made) + 1)
            if folder.messages:
                await self._move(list(folder.messages), target, [*made, target])
                return

            def settle(kept: bool) -> None:
                if kept:
                    for each in (*made, target):
                        self._add_folder(each)

            await self._commit([each.saved() for each in (*made, target)], settle)

    # --- flags --------------------------------------------------------------------------------------------------------

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

        Many messages go in pieces, so that others have their turn; each piece has a mod-sequence of its own.

        Returns (messages now having the flags, messages that failed `unchanged_since`, RFC 7162 section 3.1.3).
        Raises Unavailable.
        """
        done: list[Message] = []
        failed: list[Message] = []
        async for piece in self._in_pieces(list(messages)):
            changed = self._decide_flags(folder, piece, mode, flags, unchanged_since, done, failed)
            if changed:
                await self._commit_flags(folder, changed)
        return done, failed

    @staticmethod
    def _decide_flags(
        folder: Folder,
        messages: Sequence[Message],
        mode: str,
        flags: frozenset[str],
        unchanged_since: int | None,
        done: list[Message],
        failed: list[Message],
    ) -> list[tuple[Message, frozenset[str]]]:
        changed: list[tuple[Message, frozenset[str]]] = []
        pending = folder.pending_flags
        for message in messages:
            on_its_way = pending.get(message.uid)
            modseq, old = on_its_way or (message.modseq, message.flags)
            if unchanged_since is not None and modseq > unchanged_since:
                failed.append(message)
                continue
            done.append(message)
            new = old | flags if mode == "+" else old - flags if mode == "-" else flags
            # What is on its way may still fail: then this one must be told as well, so it goes the same way.
            if new != old or on_its_way is not None:
                changed.append((message, new))
        return changed

    async def advance_modseq(self, folder: Folder) -> None:
        """Raise HIGHESTMODSEQ, for something about the folder is other (RFC 7162 section 3.2). Raises Unavailable."""
        await self._commit_flags(folder, ())

    async def _commit_flags(self, folder: Folder, changed: Sequence[tuple[Message, frozenset[str]]]) -> None:
        folder.modseq_drawn += 1
        modseq = folder.modseq_drawn
        pending = folder.pending_flags
        for message, new in changed:
            pending[message.uid] = (modseq, new)

        def settle(kept: bool) -> None:
            for message, new in changed:
                if pending.get(message.uid, (0, new))[0] == modseq:
                    del pending[message.uid]
            if kept:
                self._apply_flags(folder, changed, modseq)

        record = changes.FlagsSet(folder.folder_id, modseq, tuple((message.uid, new) for message, new in changed))
        await self._commit([record], settle)

    @staticmethod
    def _apply_flags(folder: Folder, changed: Sequence[tuple[Message, frozenset[str]]], modseq: int) -> None:
        folder.highest_modseq = modseq
        for message, new in changed:
            if message.expunged:
                continue
            old, message.flags, message.modseq = message.flags, new, modseq
            folder.unseen += (SEEN not in new) - (SEEN not in old)
            folder.deleted += (DELETED in new) - (DELETED in old)
            for listener in folder.listeners:
                listener.flags_changed(message)

    # --- expunging ----------------------------------------------------------------------------------------------------

    def _draw_expunge(self, folder: Folder, messages: Sequence[Message]) -> changes.Expunged:
        folder.modseq_drawn += 1
        uids = tuple(message.uid for message in messages)
        folder.leaving.update(uids)
        return changes.Expunged(folder.folder_id, folder.modseq_drawn, uids)

    async def expunge(self, folder: Folder, messages: Iterable[Message]) -> list[int]:
        """Remove messages for good: the UIDs that this call removed, ascending. Raises Unavailable.

        Those that another session is removing right now are removed again, so that this call too returns when they are
        gone for good. Many messages go in pieces, so that others have their turn.
        """
        there = sorted((m for m in messages if not m.expunged and m.folder is folder), key=lambda m: m.uid)
        removed: list[int] = []
        async for piece in self._in_pieces(there):
            removed.extend(await self._expunge(folder, piece))
        return removed

    async def _expunge(self, folder: Folder, there: Sequence[Message]) -> list[int]:
        record = self._draw_expunge(folder, there)
        removed: list[int] = []

        def settle(kept: bool) -> None:
            folder.leaving.difference_update(record.uids)
            if kept:
                removed.extend(self._remove(folder, there, record.modseq))

        await self._commit([record], settle)
        return removed

    def _remove(self, folder: Folder, messages: Sequence[Message], modseq: int) -> list[int]:
        folder.highest_modseq = modseq
        gone = [message for message in messages if not message.expunged]
        if not gone:
            return []
        for message in gone:
            message.expunged = True
            folder.vanished.append((modseq, message.uid))
            folder.size -= message.size
            folder.unseen -= SEEN not in message.flags
            folder.deleted -= DELETED in message.flags
            if folder.owner is not None:
                folder.owner.size -= message.size
            self._forget(message)
        self._trim_vanished(folder)
        uids = [message.uid for message in gone]
        first, last = bisect_left(folder.uids, min(uids)), bisect_right(folder.uids, max(uids))
        if last - first == len(gone):  # side by side, as most are
            del folder.messages[first:last]
            del folder.uids[first:last]
        else:
            folder.messages = [message for message in folder.messages if not message.expunged]
            folder.uids = [message.uid for message in folder.messages]
        for listener in folder.listeners:
            listener.expunged(gone)
        return uids

    def _trim_vanished(self, folder: Folder) -> None:
        while len(folder.vanished) > self.settings.vanished_remembered_max:
            folder.vanished_floor = max(folder.vanished_floor, folder.vanished.popleft()[0])

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

    # --- starting -----------------------------------------------------------------------------------------------------

    def restore(self, loaded: changes.Loaded) -> None:
        """Build the index from what the backend had kept; the store must be empty."""
        assert not self.folders_by_id
        assert not self.mailboxes
        self._last_folder_id = loaded.last_folder_id
        self._last_uid_validity = loaded.last_uid_validity
        for name in loaded.mailboxes:
            self.mailboxes[name] = Mailbox(name)
        for saved in loaded.folders:
            self._restore_folder(saved)
        for subscriptions in loaded.subscriptions:
            self.mailboxes[subscriptions.mailbox].subscriptions = set(subscriptions.names)
        for annotation in loaded.annotations:
            if annotation.value is not None:
                self.annotations[annotation.scope, annotation.key] = annotation.value
        self.spool_done.update(loaded.spool_done)
        self._restore_messages(loaded)
        for folder_id, floor in loaded.vanished_floors.items():
            self.folders_by_id[folder_id].vanished_floor = floor
        for folder_id, modseq, uid in loaded.vanished:
            self.folders_by_id[folder_id].vanished.append((modseq, uid))
        for folder in self.folders_by_id.values():
            self._trim_vanished(folder)

    def _restore_folder(self, saved: changes.FolderSaved) -> None:
        owner = None if saved.mailbox is None else self.mailboxes[saved.mailbox]
        folder = Folder(saved.folder_id, owner, saved.name, saved.uid_validity, saved.created)
        folder.uid_next, folder.uid_drawn = saved.uid_next, saved.uid_next - 1
        folder.highest_modseq = folder.modseq_drawn = saved.highest_modseq
        folder.first_recent_uid = saved.first_recent_uid
        folder.selectable, folder.special_use = saved.selectable, saved.special_use
        folder.description, folder.posting = saved.description, saved.posting
        self._last_folder_id = max(self._last_folder_id, saved.folder_id)
        self._last_uid_validity = max(self._last_uid_validity, saved.uid_validity)
        self._add_folder(folder)

    def _restore_messages(self, loaded: changes.Loaded) -> None:
        contents = loaded.contents
        self._contents = {content.digest: content for content in contents.values()}
        for folder_id, rows in groupby(loaded.messages, itemgetter(0)):
            folder = self.folders_by_id[folder_id]
            messages = folder.messages
            for _, uid, modseq, flags, date, zone_minutes, save_date, row in rows:
                content = contents[row]
                content.references += 1
                messages.append(Message(folder, uid, modseq, flags, date, zone_minutes, save_date, content))
            folder.uids.extend([message.uid for message in messages])
            folder.size = sum([message.content.size for message in messages])
            folder.unseen = len([message for message in messages if SEEN not in message.flags])
            folder.deleted = len([message for message in messages if DELETED in message.flags])
            if folder.owner is not None:
                folder.owner.size += folder.size
                continue
            for message in messages:
                if message.content.message_id:
                    self._message_ids.setdefault(message.content.message_id, []).append(message)
        for content in [content for content in contents.values() if content.references == 0]:
            self._contents.pop(content.digest, None)
            self._lazily.append(changes.ContentForgotten(content))


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
