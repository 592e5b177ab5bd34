"""Changes of the store as rows: what each record does to the tables, in the order of the records.

What comes by the dozen, new messages and their contents, is gathered and inserted many rows at a time: the
interpreter's lock changes hands with each statement, which costs more than the statement does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from emulator import changes
from emulator.changes import Change

from . import bodies

if TYPE_CHECKING:
    from emulator.content import Content
    from emulator.properties import PropertyMessage

_SAVE_FOLDER = """
INSERT INTO folders (folder_id, mailbox, name, uid_validity, uid_next, highest_modseq, first_recent_uid, selectable,
    special_use, created, description, posting) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (folder_id) DO UPDATE SET
    mailbox = excluded.mailbox, name = excluded.name, uid_validity = excluded.uid_validity,
    uid_next = max(uid_next, excluded.uid_next), highest_modseq = max(highest_modseq, excluded.highest_modseq),
    first_recent_uid = excluded.first_recent_uid, selectable = excluded.selectable,
    special_use = excluded.special_use, created = excluded.created, description = excluded.description,
    posting = excluded.posting
"""
_COUNT_FOLDER = """
UPDATE folders SET uid_next = max(uid_next, ?), highest_modseq = max(highest_modseq, ?) WHERE folder_id = ?
"""
_SET_ANNOTATION = """
INSERT INTO annotations VALUES (?, ?, ?) ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value
"""


_ROWS_MAX = 64
"""Rows of one INSERT; fewer go in powers of two, so that there are few statements to prepare."""


@cache
def _insert(table: str, rows: int, columns: int, verb: str) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"{verb} INTO {table} VALUES {', '.join([row] * rows)}"


class RowWriter:
    """Applies records inside a transaction that the caller begins and ends."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute
        self._run_many = connection.executemany
        self._counters: dict[int, tuple[int, int]] = {}
        self._contents: list[Sequence[Any]] = []
        self._bodies: list[Sequence[Any]] = []
        self._messages: list[Sequence[Any]] = []
        self._spool_names: list[Sequence[Any]] = []
        self._handlers: Mapping[type, Callable[[Any], None]] = {
            changes.MailboxMade: self._mailbox_made,
            changes.MailboxDeleted: self._mailbox_deleted,
            changes.FolderSaved: self._folder_saved,
            changes.FolderDeleted: self._folder_deleted,
            changes.SubscriptionsSet: self._subscriptions_set,
            changes.Appended: self._appended,
            changes.ContentForgotten: self._content_forgotten,
            changes.FlagsSet: self._flags_set,
            changes.Expunged: self._expunged,
            changes.SpoolDone: self._spool_done,
            changes.SpoolForgotten: self._spool_forgotten,
            changes.AnnotationSet: self._annotation_set,
        }

    def apply(self, records: tuple[Change, ...], new: Mapping[int, tuple[Content, PropertyMessage]]) -> None:
        """`new`: the contents, by row, that are not in the file yet. Raises sqlite3.Error."""
        for row, (content, message) in new.items():
            self._contents.append((row, content.digest, content.size, content.message_id))
            self._bodies.append((row, *bodies.pack(message)))
        for record in records:
            kind = type(record)
            if kind not in _GATHERED:
                self._insert_gathered()
            self._handlers[kind](record)

    def finish(self) -> None:
        """Write what was gathered; to call before the commit."""
        self._insert_gathered()
        counters, self._counters = self._counters, {}
        self._run_many(_COUNT_FOLDER, [(uid, modseq, folder) for folder, (uid, modseq) in counters.items()])

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._counters = {}
        for rows in (self._contents, self._bodies, self._messages, self._spool_names):
            rows.clear()

    def _insert_gathered(self) -> None:
        self._insert("contents", self._contents)
        self._insert("bodies", self._bodies)
        self._insert("messages", self._messages)
        self._insert("spool_done", self._spool_names, "INSERT OR IGNORE")

    def _insert(self, table: str, rows: list[Sequence[Any]], verb: str = "INSERT") -> None:
        start, left = 0, len(rows)
        while left:
            count = min(1 << (left.bit_length() - 1), _ROWS_MAX)
            values = [value for row in rows[start : start + count] for value in row]
            self._run(_insert(table, count, len(rows[0]), verb), values)
            start += count
            left -= count
        rows.clear()

    def _drew(self, folder_id: int, uid_next: int, modseq: int) -> None:
        before = self._counters.get(folder_id, (0, 0))
        self._counters[folder_id] = (max(before[0], uid_next), max(before[1], modseq))

    def _mailbox_made(self, record: changes.MailboxMade) -> None:
        self._run("INSERT OR IGNORE INTO mailboxes VALUES (?)", (record.mailbox,))

    def _mailbox_deleted(self, record: changes.MailboxDeleted) -> None:
        found = self._run("SELECT folder_id FROM folders WHERE mailbox = ?", (record.mailbox,)).fetchall()
        for (folder_id,) in found:
            self._folder_deleted(changes.FolderDeleted(folder_id))
        self._run("DELETE FROM subscriptions WHERE mailbox = ?", (record.mailbox,))
        self._run("DELETE FROM annotations WHERE scope = ?", (f"mailbox:{record.mailbox}",))
        self._run("DELETE FROM mailboxes WHERE name = ?", (record.mailbox,))

    def _folder_saved(self, record: changes.FolderSaved) -> None:
        values = (
            record.folder_id,
            record.mailbox,
            record.name,
            record.uid_validity,
            record.uid_next,
            record.highest_modseq,
            record.first_recent_uid,
            record.selectable,
            record.special_use,
            record.created,
            record.description,
            record.posting,
        )
        self._run(_SAVE_FOLDER, values)
        for key, value in (("last_folder_id", record.folder_id), ("last_uid_validity", record.uid_validity)):
            self._run("UPDATE meta SET value = ? WHERE key = ? AND value < ?", (value, key, value))

    def _folder_deleted(self, record: changes.FolderDeleted) -> None:
        for table in ("messages", "vanished", "folders"):
            self._run(f"DELETE FROM {table} WHERE folder_id = ?", (record.folder_id,))  # noqa: S608 - our own names
        self._run("DELETE FROM annotations WHERE scope = ?", (f"folder:{record.folder_id}",))

    def _subscriptions_set(self, record: changes.SubscriptionsSet) -> None:
        self._run("DELETE FROM subscriptions WHERE mailbox = ?", (record.mailbox,))
        self._run_many("INSERT INTO subscriptions VALUES (?, ?)", [(record.mailbox, name) for name in record.names])

    def _appended(self, record: changes.Appended) -> None:
        values = (
            record.folder_id,
            record.uid,
            record.modseq,
            " ".join(sorted(record.flags)),
            record.internal_date,
            record.zone_minutes,
            record.save_date,
            record.content.row,
        )
        self._messages.append(values)
        self._drew(record.folder_id, record.uid + 1, record.modseq)

    def _content_forgotten(self, record: changes.ContentForgotten) -> None:
        self._run("DELETE FROM bodies WHERE content_id = ?", (record.content.row,))
        self._run("DELETE FROM contents WHERE content_id = ?", (record.content.row,))

    def _flags_set(self, record: changes.FlagsSet) -> None:
        self._run_many(
            "UPDATE messages SET flags = ?, modseq = ? WHERE folder_id = ? AND uid = ?",
            [(" ".join(sorted(flags)), record.modseq, record.folder_id, uid) for uid, flags in record.flags],
        )
        self._drew(record.folder_id, 0, record.modseq)

    def _expunged(self, record: changes.Expunged) -> None:
        folder_id = record.folder_id
        there = self._run("SELECT 1 FROM folders WHERE folder_id = ?", (folder_id,)).fetchone()
        if there is None:
            return
        for uid in record.uids:
            # Two sessions may have removed it at once: the first one counts.
            if self._run("DELETE FROM messages WHERE folder_id = ? AND uid = ?", (folder_id, uid)).rowcount:
                self._run("INSERT OR IGNORE INTO vanished VALUES (?, ?, ?)", (folder_id, record.modseq, uid))
        self._drew(folder_id, 0, record.modseq)

    def _spool_done(self, record: changes.SpoolDone) -> None:
        if not record.on_disk:
            return
        self._spool_names.append((record.spool_name,))

    def _spool_forgotten(self, record: changes.SpoolForgotten) -> None:
        self._run("DELETE FROM spool_done WHERE name = ?", (record.spool_name,))

    def _annotation_set(self, record: changes.AnnotationSet) -> None:
        if record.value is None:
            self._run("DELETE FROM annotations WHERE scope = ? AND key = ?", (record.scope, record.key))
        else:
            self._run(_SET_ANNOTATION, (record.scope, record.key, record.value))


_GATHERED = frozenset({changes.Appended, changes.SpoolDone})
