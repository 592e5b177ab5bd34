"""What `mailjam check DIR --repair` does: put every invariant right and lose nothing that can still be read.

What belongs nowhere goes to the mailbox `lost+found`; bodies that cannot be read go, as they are, to DIR/lost+found.
Each step says what it did. The original file is kept beside the new one when SQLite itself finds it damaged.
"""

from __future__ import annotations

import sqlite3
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulator.config import SettingsError
from emulator.content import digest_of
from emulator.spool import BAD, SPOOL_NAME, sync_folder

from . import bodies, schema
from .check import Problem, Report, examine, lock_of, open_store_file
from .names import FILE_NAME
from .rebuild import rebuild

LOST_AND_FOUND = "lost+found"
_ROUNDS_MAX = 4
"""One repair may uncover what another one has to do."""


def repair_directory(directory: Path) -> Report:
    """Migrate, repair, examine again: the report has what was done and what is still wrong. Raises SettingsError."""
    repaired: list[str] = []
    lock = lock_of(directory)
    connection: sqlite3.Connection | None = None
    try:
        connection = _migrated(directory, repaired)
        report = examine(directory, connection)
        if any(problem.kind == "file damaged" for problem in report.problems):
            damaged, connection = connection, None
            connection = rebuild(directory, damaged, repaired.append)
            report = examine(directory, connection)
        for _ in range(_ROUNDS_MAX):
            if report.clean:
                break
            repair = Repair(directory, connection, repaired)
            repair.run(report.problems)
            report = examine(directory, connection)
    except (sqlite3.Error, OSError) as error:
        raise SettingsError(f"{directory / FILE_NAME} cannot be repaired: {error}") from None
    finally:
        if connection is not None:
            connection.close()
        lock.release()
    report.repaired = repaired
    return report


def _migrated(directory: Path, repaired: list[str]) -> sqlite3.Connection:
    """A connection to a store that can be opened: to a new one, where that of the directory cannot."""
    path = directory / FILE_NAME
    try:
        connection = open_store_file(path)
    except sqlite3.DatabaseError:
        return rebuild(directory, None, repaired.append)
    try:
        before, now = schema.migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    if before != now:
        repaired.append(f"schema {before} is schema {now} now")
    return connection


class Repair:
    """One round over the problems of a report, in one transaction."""

    def __init__(self, directory: Path, connection: sqlite3.Connection, repaired: list[str]) -> None:
        self._directory = directory
        self._run = connection.execute
        self._say = repaired.append
        self._steps: dict[str, Callable[[Problem], None]] = {
            "folder without mailbox": self._folder_without_mailbox,
            "mailbox without INBOX": self._mailbox_without_inbox,
            "folder name twice": self._folder_name_twice,
            "folder name with control characters": self._folder_name_with_control_characters,
            "UIDVALIDITY twice": self._uid_validity_twice,
            "number used again": self._number_used_again,
            "UIDNEXT too small": self._counters,
            "HIGHESTMODSEQ too small": self._counters,
            "message without folder": self._message_without_folder,
            "message without content": self._message_without_content,
            "UID out of range": self._uid_out_of_range,
            "vanished and there": self._vanished_and_there,
            "vanished without folder": self._vanished_without_folder,
            "content twice": self._content_twice,
            "body without content": self._body_without_content,
            "content without body": self._content_without_body,
            "body damaged": self._body_damaged,
            "subscription without mailbox": self._subscription_without_mailbox,
            "spool file damaged": self._spool_file_damaged,
        }

    def run(self, problems: list[Problem]) -> None:
        """Raises sqlite3.Error; then nothing of the round was done."""
        self._run("BEGIN IMMEDIATE")
        try:
            for problem in problems:
                step = self._steps.get(problem.kind)
                if step is not None:
                    step(problem)
            self._run("COMMIT")
        except BaseException:
            self._run("ROLLBACK")
            raise

    # --- folders ------------------------------------------------------------------------------------------------------

    def _make_folder(self, mailbox: str, name: str) -> int:
        self._run("INSERT OR IGNORE INTO mailboxes VALUES (?)", (mailbox,))
        numbers = dict(self._run("SELECT key, value FROM meta"))
        last_folder = self._run("SELECT coalesce(max(folder_id), 0), coalesce(max(uid_validity), 0) FROM folders")
        folder_id, uid_validity = last_folder.fetchone()
        folder_id = int(max(folder_id, numbers["last_folder_id"])) + 1
        uid_validity = max(uid_validity, numbers["last_uid_validity"], int(time.time())) + 1
        self._run(
            "INSERT INTO folders VALUES (?, ?, ?, ?, 1, 1, 1, 1, '', ?, '', 'y', 0)",
            (folder_id, mailbox, name, uid_validity, time.time()),
        )
        self._run("UPDATE meta SET value = ? WHERE key = 'last_folder_id'", (folder_id,))
        self._run("UPDATE meta SET value = ? WHERE key = 'last_uid_validity'", (uid_validity,))
        return folder_id

    def _lost_and_found(self) -> int:
        query = "SELECT folder_id FROM folders WHERE mailbox = ? AND name = 'INBOX'"
        found = self._run(query, (LOST_AND_FOUND,)).fetchone()
        return int(found[0]) if found else self._make_folder(LOST_AND_FOUND, "INBOX")

    def _put(self, folder_id: int, content_id: int, flags: str = "", date: float | None = None, zone: int = 0) -> None:
        """A message with the folder's next UID."""
        uid, modseq = self._run(
            "SELECT uid_next, highest_modseq + 1 FROM folders WHERE folder_id = ?", (folder_id,)
        ).fetchone()
        now = time.time()
        self._run(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (folder_id, uid, modseq, flags, now if date is None else date, zone, now, content_id),
        )
        self._run(
            "UPDATE folders SET uid_next = ?, highest_modseq = ? WHERE folder_id = ?", (uid + 1, modseq, folder_id)
        )

    def _folder_without_mailbox(self, problem: Problem) -> None:
        self._run("INSERT OR IGNORE INTO mailboxes VALUES (?)", (problem.keys[2],))
        self._say(f"mailbox {problem.keys[2]!r} was made again for its folder {problem.keys[1]!r}")

    def _mailbox_without_inbox(self, problem: Problem) -> None:
        self._make_folder(str(problem.keys[0]), "INBOX")
        self._say(f"mailbox {problem.keys[0]!r} has a new INBOX")

    def _folder_name_twice(self, problem: Problem) -> None:
        name = f"{problem.keys[1]} (recovered {problem.keys[0]})"
        self._run("UPDATE folders SET name = ? WHERE folder_id = ?", (name, problem.keys[0]))
        self._say(f"the second folder {problem.keys[1]!r} is {name!r} now")

    def _folder_name_with_control_characters(self, problem: Problem) -> None:
        folder_id, old, mailbox = problem.keys
        clean = "".join("?" if unicodedata.category(each) == "Cc" else each for each in str(old))
        name = f"{clean} (recovered {folder_id})"  # what is below it has a name of its own, which says the same
        self._run("UPDATE folders SET name = ? WHERE folder_id = ?", (name, folder_id))
        self._run("UPDATE OR IGNORE subscriptions SET name = ? WHERE mailbox = ? AND name = ?", (name, mailbox, old))
        self._say(f"the folder {old!r} is {name!r} now")

    def _uid_validity_twice(self, problem: Problem) -> None:
        highest = self._run("SELECT max(uid_validity) FROM folders").fetchone()[0]
        new = max(highest, self._run("SELECT value FROM meta WHERE key = 'last_uid_validity'").fetchone()[0]) + 1
        self._run("UPDATE folders SET uid_validity = ? WHERE folder_id = ?", (new, problem.keys[0]))
        self._run("UPDATE meta SET value = ? WHERE key = 'last_uid_validity'", (new,))
        self._say(f"folder {problem.keys[1]!r} has UIDVALIDITY {new} now: clients will read it anew")

    def _number_used_again(self, problem: Problem) -> None:
        column = "folder_id" if problem.keys[0] == "last_folder_id" else "uid_validity"
        query = f"UPDATE meta SET value = (SELECT max({column}) FROM folders) WHERE key = ?"  # noqa: S608
        self._run(query, (problem.keys[0],))
        self._say(f"{problem.keys[0]} is the largest in use now")

    def _counters(self, problem: Problem) -> None:
        query = """UPDATE folders SET
            uid_next = max(uid_next,
                1 + coalesce((SELECT max(uid) FROM messages WHERE folder_id = folders.folder_id), 0),
                1 + coalesce((SELECT max(uid) FROM vanished WHERE folder_id = folders.folder_id), 0)),
            highest_modseq = max(highest_modseq,
                coalesce((SELECT max(modseq) FROM messages WHERE folder_id = folders.folder_id), 0),
                coalesce((SELECT max(modseq) FROM vanished WHERE folder_id = folders.folder_id), 0))
            WHERE folder_id = ?"""
        self._run(query, (problem.keys[0],))
        self._say(f"folder {problem.keys[1]!r} counts from its largest UID and mod-sequence now")

    # --- messages -----------------------------------------------------------------------------------------------------

    def _message_without_folder(self, problem: Problem) -> None:
        folder_id, uid = problem.keys[:2]
        query = "SELECT content_id, flags, internal_date, zone_minutes FROM messages WHERE folder_id = ? AND uid = ?"
        self._put(self._lost_and_found(), *self._run(query, (folder_id, uid)).fetchone())
        self._run("DELETE FROM messages WHERE folder_id = ? AND uid = ?", (folder_id, uid))
        self._say(f"message {uid} of the missing folder number {folder_id} is in {LOST_AND_FOUND} now")

    def _expunge(self, folder_id: Any, uid: Any) -> None:
        self._run("DELETE FROM messages WHERE folder_id = ? AND uid = ?", (folder_id, uid))
        self._run("UPDATE folders SET highest_modseq = highest_modseq + 1 WHERE folder_id = ?", (folder_id,))
        self._run(
            "INSERT OR IGNORE INTO vanished SELECT folder_id, highest_modseq, ? FROM folders WHERE folder_id = ?",
            (uid, folder_id),
        )

    def _message_without_content(self, problem: Problem) -> None:
        folder_id, uid = problem.keys[:2]
        self._expunge(folder_id, uid)
        self._say(f"message {uid} of folder number {folder_id} is gone: its content was not there any more")

    def _uid_out_of_range(self, problem: Problem) -> None:
        folder_id, uid = problem.keys[:2]
        query = "SELECT content_id, flags, internal_date, zone_minutes FROM messages WHERE folder_id = ? AND uid = ?"
        row = self._run(query, (folder_id, uid)).fetchone()
        if row is not None and self._run("SELECT 1 FROM folders WHERE folder_id = ?", (folder_id,)).fetchone():
            self._run("DELETE FROM messages WHERE folder_id = ? AND uid = ?", (folder_id, uid))
            self._put(int(folder_id), *row)
            self._say(f"message {uid} of folder number {folder_id} has a new UID")

    def _vanished_and_there(self, problem: Problem) -> None:
        self._run("DELETE FROM vanished WHERE folder_id = ? AND modseq = ? AND uid = ?", problem.keys)
        self._say(f"message {problem.keys[2]} of folder number {problem.keys[0]} does not count as expunged any more")

    def _vanished_without_folder(self, problem: Problem) -> None:
        self._run("DELETE FROM vanished WHERE folder_id = ?", problem.keys)
        self._say(f"expunges of the missing folder number {problem.keys[0]} are forgotten")

    def _subscription_without_mailbox(self, problem: Problem) -> None:
        self._run("DELETE FROM subscriptions WHERE mailbox = ?", problem.keys)
        self._say(f"subscriptions of the missing mailbox {problem.keys[0]!r} are forgotten")

    # --- contents -----------------------------------------------------------------------------------------------------

    def _content_twice(self, problem: Problem) -> None:
        first, second = problem.keys
        found = self._run("SELECT count(DISTINCT body) FROM bodies WHERE content_id IN (?, ?)", (first, second))
        if found.fetchone()[0] > 1:
            return  # one of them is not what its digest says: that is a problem of its own
        self._run("UPDATE messages SET content_id = ? WHERE content_id = ?", (first, second))
        for table in ("contents", "bodies"):
            self._run(f"DELETE FROM {table} WHERE content_id = ?", (second,))  # noqa: S608
        self._say(f"content {second} is content {first} now: they were the same")

    def _set_aside(self, content_id: Any) -> str:
        """Write the body as it lies in the file to DIR/lost+found; where it is now."""
        row = self._run("SELECT body FROM bodies WHERE content_id = ?", (content_id,)).fetchone()
        folder = self._directory / LOST_AND_FOUND
        folder.mkdir(exist_ok=True)
        path = folder / f"body-{content_id}"
        path.write_bytes(row[0] if row else b"")
        return f"{LOST_AND_FOUND}/{path.name}"

    def _drop_content(self, content_id: Any) -> list[tuple[int, int]]:
        found = self._run("SELECT folder_id, uid FROM messages WHERE content_id = ?", (content_id,)).fetchall()
        for folder_id, uid in found:
            self._expunge(folder_id, uid)
        for table in ("contents", "bodies"):
            self._run(f"DELETE FROM {table} WHERE content_id = ?", (content_id,))  # noqa: S608
        return found

    def _content_without_body(self, problem: Problem) -> None:
        found = self._drop_content(problem.keys[0])
        self._say(f"{len(found)} messages are gone: the body of content {problem.keys[0]} was not there any more")

    def _body_damaged(self, problem: Problem) -> None:
        """The body is set aside, and what can be decompressed of it becomes a message in lost+found."""
        content_id = problem.keys[0]
        plain = self._readable(content_id)
        where = self._set_aside(content_id)
        found = self._drop_content(content_id)
        names = ", ".join(f"{uid} of folder number {folder_id}" for folder_id, uid in found)
        text = f"content {content_id} (messages: {names or 'none'}) was damaged; what there was is in {where}"
        if plain is not None:
            self._put(self._lost_and_found(), self._new_content(plain))
            text += f" and, as far as it can be read, in {LOST_AND_FOUND}"
        self._say(text)

    def _readable(self, content_id: Any) -> bytes | None:
        form, body = self._run("SELECT form, body FROM bodies WHERE content_id = ?", (content_id,)).fetchone()
        if form & bodies.PROPERTIES:
            return None
        return bodies.readable_part(form, body) or None

    def _new_content(self, plain: bytes) -> int:
        digest = digest_of(plain)
        found = self._run(
            "SELECT content_id FROM contents WHERE digest = ? AND content_id IN (SELECT content_id FROM messages)",
            (digest,),
        ).fetchone()
        if found:
            return int(found[0])
        row = self._run(
            "SELECT 1 + max(coalesce((SELECT max(content_id) FROM contents), 0),"
            " coalesce((SELECT max(content_id) FROM bodies), 0))"
        ).fetchone()[0]
        self._run("INSERT INTO contents VALUES (?, ?, ?, ?)", (row, digest, len(plain), b""))
        self._run("INSERT INTO bodies VALUES (?, ?, ?, ?)", (row, *bodies.pack_octets(plain)))
        return int(row)

    def _body_without_content(self, problem: Problem) -> None:
        content_id = problem.keys[0]
        plain = self._readable(content_id)
        if plain is None:
            where = self._set_aside(content_id)
        else:
            self._put(self._lost_and_found(), self._new_content(plain))
            where = LOST_AND_FOUND
        self._run("DELETE FROM bodies WHERE content_id = ?", (content_id,))
        self._say(f"body {content_id}, which belonged to no content, is in {where} now")

    # --- the spool ----------------------------------------------------------------------------------------------------

    def _spool_file_damaged(self, problem: Problem) -> None:
        folder, name = map(str, problem.keys)
        spool = self._directory / SPOOL_NAME
        (spool / BAD).mkdir(exist_ok=True)
        (spool / folder / name).replace(spool / BAD / name)
        sync_folder(spool / BAD)
        self._say(f"spool file {folder}/{name} is in {BAD} now")
