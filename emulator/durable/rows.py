"""Changes of the store as rows: what each record does to the tables, in the order of the records.

Messages, which come by the dozen, are gathered and inserted by one statement into a view, whose trigger spreads them
over the tables. Each call of SQLite gives the interpreter's lock away and has to wait for it again: with a busy event
loop that takes longer than the statement does, so that a batch of appends is one call, its sync included.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
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


_COLUMNS = (
    *("folder_id", "uid", "modseq", "flags", "internal_date", "zone_minutes", "save_date", "content_id"),
    *("digest", "size", "message_id", "form", "checksum", "body"),
)
_NOT_NEW = (None,) * 6
"""In the place of the content of a message whose content is in the file, or comes with a row before it."""
_ARRIVALS = f"""
CREATE TEMP VIEW arrivals AS SELECT {", ".join(f"NULL AS {name}" for name in _COLUMNS)};
CREATE TEMP TRIGGER arrive INSTEAD OF INSERT ON arrivals BEGIN
    INSERT INTO contents SELECT new.content_id, new.digest, new.size, new.message_id WHERE new.digest IS NOT NULL;
    INSERT INTO bodies SELECT new.content_id, new.form, new.checksum, new.body WHERE new.digest IS NOT NULL;
    INSERT INTO messages VALUES (new.folder_id, new.uid, new.modseq, new.flags, new.internal_date, new.zone_minutes,
        new.save_date, new.content_id);
    UPDATE folders SET uid_next = max(uid_next, new.uid + 1), highest_modseq = max(highest_modseq, new.modseq)
        WHERE folder_id = new.folder_id;
END;
"""  # noqa: S608 - our own names
_ROWS_MAX = 64
"""Rows of one INSERT: each number of rows is a statement of its own, which the connection keeps prepared."""
_STATEMENT_BODY_BYTES_MAX = 1 << 20
"""SQLite copies the rows of such an INSERT once, a single row apart: large bodies go alone."""


@cache
def _insert_arrivals(rows: int) -> str:
    row = f"({', '.join('?' * len(_COLUMNS))})"
    return f"INSERT INTO arrivals VALUES {', '.join([row] * rows)}"  # noqa: S608 - question marks alone


def _statements(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The rows of each INSERT."""
    first, octets = 0, 0
    for index, row in enumerate(rows):
        size = len(row[-1] or b"")
        if index > first and (index - first == _ROWS_MAX or octets + size > _STATEMENT_BODY_BYTES_MAX):
            yield rows[first:index]
            first, octets = index, 0
        octets += size
    if rows:
        yield rows[first:]


class RowWriter:
    """Applies records in a transaction: `apply` for each commit, then `commit` for all, or `forget`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        connection.executescript(_ARRIVALS)
        self._run = connection.execute
        self._run_many = connection.executemany
        self._counters: dict[int, tuple[int, int]] = {}
        self._arrivals: list[tuple[Any, ...]] = []
        self._begun = False
        """Whether there was a BEGIN."""
        self._handlers: Mapping[type, Callable[[Any], None]] = {
            changes.MailboxMade: self._mailbox_made,
            changes.MailboxDeleted: self._mailbox_deleted,
            changes.FolderSaved: self._folder_saved,
            changes.FolderDeleted: self._folder_deleted,
            changes.SubscriptionsSet: self._subscriptions_set,
            changes.ContentForgotten: self._content_forgotten,
            changes.FlagsSet: self._flags_set,
            changes.Expunged: self._expunged,
            changes.SpoolDone: self._spool_done,
            changes.SpoolForgotten: self._spool_forgotten,
            changes.AnnotationSet: self._annotation_set,
        }

    def apply(self, records: tuple[Change, ...], new: Mapping[int, tuple[Content, PropertyMessage]]) -> None:
        """`new`: the contents, by row, that are not in the file yet. Raises sqlite3.Error."""
        new = dict(new)
        for record in records:
            if isinstance(record, changes.Appended):
                self._appended(record, new.pop(record.content.row, None))
            elif not isinstance(record, changes.SpoolDone) or record.on_disk:
                self._begin()
                self._insert_arrivals()
                self._handlers[type(record)](record)

    def commit(self) -> None:
        """Make durable what was applied. Raises sqlite3.Error: then nothing of it was kept."""
        self._insert_arrivals()
        if self._begun:  # else all was one statement, which is a transaction of its own
            counters, self._counters = self._counters, {}
            if counters:
                self._run_many(_COUNT_FOLDER, [(uid, modseq, folder) for folder, (uid, modseq) in counters.items()])
            self._run("COMMIT")
            self._begun = False

    def forget(self) -> None:
        """What was applied could not be kept; the caller rolls back."""
        self._arrivals.clear()
        self._counters = {}
        self._begun = False

    def _begin(self) -> None:
        if not self._begun:
            self._run("BEGIN IMMEDIATE")
            self._begun = True

    def _insert_arrivals(self) -> None:
        statements = list(_statements(self._arrivals))
        self._arrivals.clear()
        if len(statements) > 1:
            self._begin()
        for rows in statements:
            self._run(_insert_arrivals(len(rows)), [value for row in rows for value in row])

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

    def _appended(self, record: changes.Appended, new: tuple[Content, PropertyMessage] | None) -> None:
        content = record.content
        message = (
            record.folder_id,
            record.uid,
            record.modseq,
            " ".join(sorted(record.flags)),
            record.internal_date,
            record.zone_minutes,
            record.save_date,
            content.row,
        )
        if new is None:
            self._arrivals.append((*message, *_NOT_NEW))
        else:
            body = bodies.pack(new[1])
            self._arrivals.append((*message, content.digest, content.size, content.message_id, *body))

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
        self._run("INSERT OR IGNORE INTO spool_done VALUES (?)", (record.spool_name,))

    def _spool_forgotten(self, record: changes.SpoolForgotten) -> None:
        self._run("DELETE FROM spool_done WHERE name = ?", (record.spool_name,))

    def _annotation_set(self, record: changes.AnnotationSet) -> None:
        if record.value is None:
            self._run("DELETE FROM annotations WHERE scope = ? AND key = ?", (record.scope, record.key))
        else:
            self._run(_SET_ANNOTATION, (record.scope, record.key, record.value))
