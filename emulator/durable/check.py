"""What `mailjam check DIR` verifies: every invariant of a data directory that the store and the spool rely on.

A problem is something that must not be, whatever the process was doing when it died. What a crash may leave behind, and
the next start puts right (contents that no message has any more, spool files that were delivered), is only counted.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.config import SettingsError
from emulator.content import digest_of
from emulator.spool import BAD, FOLDERS, IN, SPOOL_NAME, is_spool_name, unpack

from . import bodies, schema
from .directory_lock import DirectoryLock
from .names import FILE_NAME
from .rebuild import COLUMN_TYPES, rows_of_wrong_type

_META_ROWS = 2
"""The folder id and the UIDVALIDITY given last."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken invariant. `kind` chooses the repair; `keys` name the rows."""

    kind: str
    text: str
    keys: tuple[Any, ...] = ()


@dataclass(slots=True)
class Report:
    """What was looked at, what is wrong, what was done."""

    directory: Path
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every invariant holds."""
        return not self.problems


_COUNTS = {
    "mailboxes": "SELECT count(*) FROM mailboxes",
    "newsgroups": "SELECT count(*) FROM folders WHERE mailbox IS NULL",
    "folders": "SELECT count(*) FROM folders WHERE mailbox IS NOT NULL",
    "messages": "SELECT count(*) FROM messages",
    "contents": "SELECT count(*) FROM contents",
    "contents that no message has any more": """SELECT count(*) FROM contents
        WHERE content_id NOT IN (SELECT content_id FROM messages)""",
    "octets of bodies on disk": "SELECT coalesce(sum(length(body)), 0) FROM bodies",
}

_CONTROL_CHARACTERS = "'*[' || char(1) || '-' || char(31) || char(127) || '-' || char(159) || ']*'"
"""A pattern of GLOB; `hierarchy.check_name` lets none of these into a name."""

_QUERIES: tuple[tuple[str, str, str], ...] = (
    (
        "folder without mailbox",
        "folder {1!r} belongs to mailbox {2!r}, which is not there",
        """SELECT folder_id, name, mailbox FROM folders
        WHERE mailbox IS NOT NULL AND mailbox NOT IN (SELECT name FROM mailboxes)""",
    ),
    (
        "mailbox without INBOX",
        "mailbox {0!r} has no INBOX",
        """SELECT name FROM mailboxes
        WHERE NOT EXISTS (SELECT 1 FROM folders WHERE mailbox = mailboxes.name AND folders.name = 'INBOX')""",
    ),
    (
        "folder name twice",
        "folder {1!r} of mailbox {2!r} is there twice",
        """SELECT folder_id, name, mailbox FROM folders WHERE EXISTS (SELECT 1 FROM folders AS first
            WHERE first.mailbox IS folders.mailbox AND first.name = folders.name
            AND first.folder_id < folders.folder_id)""",
    ),
    (
        "folder name with control characters",
        "folder {1!r} of mailbox {2!r} has control characters in its name",
        f"""SELECT folder_id, name, mailbox FROM folders
            WHERE name GLOB {_CONTROL_CHARACTERS} OR instr(name, char(0))""",  # noqa: S608 - our own pattern
    ),
    (
        "UIDVALIDITY twice",
        "folder {1!r} has UIDVALIDITY {2}, which another folder has too, or none may have",
        """SELECT folder_id, name, uid_validity FROM folders WHERE uid_validity < 1 OR EXISTS (
            SELECT 1 FROM folders AS first
            WHERE first.uid_validity = folders.uid_validity AND first.folder_id < folders.folder_id)""",
    ),
    (
        "number used again",
        "the next {0} would be one that was used",
        """SELECT key FROM meta WHERE (key = 'last_folder_id' AND value < (SELECT max(folder_id) FROM folders))
        OR (key = 'last_uid_validity' AND value < (SELECT max(uid_validity) FROM folders))""",
    ),
    (
        "UIDNEXT too small",
        "folder {1!r} has UIDNEXT {2} and a UID {3}",
        """SELECT folder_id, name, uid_next, last FROM folders JOIN
            (SELECT folder_id, max(uid) AS last FROM (SELECT folder_id, uid FROM messages
                UNION ALL SELECT folder_id, uid FROM vanished) GROUP BY folder_id) USING (folder_id)
        WHERE uid_next <= last""",
    ),
    (
        "HIGHESTMODSEQ too small",
        "folder {1!r} has HIGHESTMODSEQ {2} and a mod-sequence {3}",
        """SELECT folder_id, name, highest_modseq, last FROM folders JOIN
            (SELECT folder_id, max(modseq) AS last FROM (SELECT folder_id, modseq FROM messages
                UNION ALL SELECT folder_id, modseq FROM vanished) GROUP BY folder_id) USING (folder_id)
        WHERE highest_modseq < last""",
    ),
    (
        "message without folder",
        "message {1} is in folder number {0}, which is not there",
        "SELECT folder_id, uid FROM messages WHERE folder_id NOT IN (SELECT folder_id FROM folders)",
    ),
    (
        "message without content",
        "message {1} of folder number {0} has content {2}, which is not there",
        "SELECT folder_id, uid, content_id FROM messages WHERE content_id NOT IN (SELECT content_id FROM contents)",
    ),
    (
        "UID out of range",
        "message {1} of folder number {0}: UIDs begin with 1, mod-sequences with 2",
        "SELECT folder_id, uid FROM messages WHERE uid < 1 OR modseq < 2",
    ),
    (
        "vanished and there",
        "message {2} of folder number {0} is there though it counts as expunged",
        "SELECT folder_id, modseq, uid FROM vanished WHERE (folder_id, uid) IN (SELECT folder_id, uid FROM messages)",
    ),
    (
        "vanished without folder",
        "expunged messages are remembered for folder number {0}, which is not there",
        "SELECT DISTINCT folder_id FROM vanished WHERE folder_id NOT IN (SELECT folder_id FROM folders)",
    ),
    (
        "content twice",
        "contents {0} and {1} have the same digest",
        """SELECT min(content_id), max(content_id) FROM contents
        WHERE content_id IN (SELECT content_id FROM messages) GROUP BY digest HAVING count(*) > 1""",
    ),
    (
        "body without content",
        "body {0} belongs to no content",
        "SELECT content_id FROM bodies WHERE content_id NOT IN (SELECT content_id FROM contents)",
    ),
    (
        "subscription without mailbox",
        "subscriptions are kept for mailbox {0!r}, which is not there",
        "SELECT DISTINCT mailbox FROM subscriptions WHERE mailbox NOT IN (SELECT name FROM mailboxes)",
    ),
)


def lock_of(directory: Path) -> DirectoryLock:
    """The lock of a directory that has a store, which no server uses: acquired. Raises SettingsError."""
    if not (directory / FILE_NAME).is_file():
        raise SettingsError(f"{directory} has no {FILE_NAME}: name the directory that mailjam serve --data uses")
    lock = DirectoryLock(directory)
    lock.acquire()
    return lock


def open_store_file(path: Path) -> sqlite3.Connection:
    """A connection to a store. Raises sqlite3.Error where it is damaged, SettingsError where it is not ours to open."""
    if not os.access(path, os.R_OK | os.W_OK):
        raise SettingsError(f"{path} cannot be read and written: run mailjam check as the user who runs the server")
    connection = schema.connect(path)
    try:
        schema.check_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def check_directory(directory: Path) -> Report:
    """Look at everything and change nothing. Raises SettingsError."""
    lock = lock_of(directory)
    try:
        connection = open_store_file(directory / FILE_NAME)
    except sqlite3.Error as error:
        lock.release()
        return Report(directory, problems=[Problem("file damaged", f"SQLite cannot open the file: {error}")])
    except BaseException:
        lock.release()
        raise
    try:
        if (version := schema.version_of(connection)) < schema.VERSION:
            raise SettingsError(
                f"{directory} has schema {version}: mailjam check --repair, or one start, brings it to {schema.VERSION}"
            )
        return examine(directory, connection)
    finally:
        connection.close()
        lock.release()


def examine(directory: Path, connection: sqlite3.Connection) -> Report:
    """The same over an open connection."""
    report = Report(directory)
    try:
        lines = [text for (text,) in connection.execute("PRAGMA integrity_check(20)")]
        if lines != ["ok"]:
            report.problems.extend(Problem("file damaged", f"SQLite: {line}") for line in lines)
            return report
        report.problems.extend(_examine_types(connection))
        if report.problems:
            return report
        for name, query in _COUNTS.items():
            report.counts[name] = connection.execute(query).fetchone()[0]
        for kind, text, query in _QUERIES:
            for row in connection.execute(query):
                report.problems.append(Problem(kind, text.format(*row), tuple(row)))
        report.problems.extend(_examine_bodies(connection))
    except sqlite3.DatabaseError as error:
        report.problems.append(Problem("file damaged", f"SQLite: {error}"))
        return report
    _examine_spool(directory, connection, report)
    return report


def _examine_types(connection: sqlite3.Connection) -> Iterator[Problem]:
    """What the other queries rely on."""
    for table in COLUMN_TYPES:
        count = rows_of_wrong_type(connection, table)
        if count:
            yield Problem("file damaged", f"{count} rows of {table} hold values of another type")
    if connection.execute("SELECT count(*) FROM meta").fetchone()[0] < _META_ROWS:
        yield Problem("file damaged", "the numbers given last are not there any more")


def _examine_bodies(connection: sqlite3.Connection) -> Iterator[Problem]:
    query = """SELECT contents.content_id, digest, size, form, checksum, body
        FROM contents LEFT JOIN bodies USING (content_id)"""
    for row, digest, size, form, checksum, body in connection.execute(query):
        if body is None:
            yield Problem("content without body", f"content {row} has no body", (row,))
            continue
        try:
            plain = bodies.plain_body(form, checksum, body)
        except ValueError as error:
            yield Problem("body damaged", f"content {row}: {error}", (row,))
            continue
        if not form & bodies.PROPERTIES and (len(plain) != size or digest_of(plain) != digest):
            yield Problem("body damaged", f"content {row}: it is not what its digest says", (row,))


def _examine_spool(directory: Path, connection: sqlite3.Connection, report: Report) -> None:
    done = {name for (name,) in connection.execute("SELECT name FROM spool_done")}
    for folder in FOLDERS:
        path = directory / SPOOL_NAME / folder
        names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        report.counts[f"messages in {folder}"] = sum(map(is_spool_name, names))
        if folder == IN:
            report.counts["messages in In that were delivered"] = len(done.intersection(names))
        if folder == BAD:
            continue  # it is kept as it is, whatever it is
        for name in filter(is_spool_name, names):
            try:
                if not (path / name).is_file() or (path / name).is_symlink():
                    raise ValueError("it is no file")
                unpack((path / name).read_bytes())
            except (ValueError, OSError) as error:
                text = f"spool file {folder}/{name} cannot be read: {error}"
                report.problems.append(Problem("spool file damaged", text, (folder, name)))
