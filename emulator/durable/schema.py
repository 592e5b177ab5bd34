"""The tables of a data directory, and how an older one becomes the present one.

A migration is a script that makes version n + 1 of version n, in one transaction with the new number. Scripts are never
edited once they were released; a change is a new script at the end.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from emulator.config import SettingsError

APPLICATION_ID = 0x4D4A414D
"""`MJAM`: tells our file from any other SQLite file (PRAGMA application_id)."""

_STATEMENTS_KEPT = 256
"""Prepared statements of a connection: `rows.py` has one for each number of rows."""

_VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('last_folder_id', 0), ('last_uid_validity', 0);
CREATE TABLE mailboxes (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE folders (
    folder_id INTEGER PRIMARY KEY,
    mailbox TEXT,  -- NULL: a newsgroup
    name TEXT NOT NULL,
    uid_validity INTEGER NOT NULL,
    uid_next INTEGER NOT NULL,
    highest_modseq INTEGER NOT NULL,
    first_recent_uid INTEGER NOT NULL,
    selectable INTEGER NOT NULL,
    special_use TEXT NOT NULL,
    created REAL NOT NULL,
    description TEXT NOT NULL,
    posting TEXT NOT NULL
);
CREATE TABLE subscriptions (mailbox TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (mailbox, name)) WITHOUT ROWID;
CREATE TABLE contents (
    content_id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    message_id BLOB NOT NULL
);
-- Apart from their contents, so that start-up, which reads all of those, does not read past bodies.
CREATE TABLE bodies (
    content_id INTEGER PRIMARY KEY,
    form INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE messages (
    folder_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    flags TEXT NOT NULL,  -- with a space between them
    internal_date REAL NOT NULL,
    zone_minutes INTEGER NOT NULL,
    save_date REAL NOT NULL,
    content_id INTEGER NOT NULL,
    PRIMARY KEY (folder_id, uid)
) WITHOUT ROWID;
CREATE TABLE spool_done (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE annotations (
    scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)
) WITHOUT ROWID;
"""

_VERSION_2 = """
-- What was expunged, for QRESYNC (RFC 7162) across restarts.
CREATE TABLE vanished (
    folder_id INTEGER NOT NULL, modseq INTEGER NOT NULL, uid INTEGER NOT NULL,
    PRIMARY KEY (folder_id, modseq, uid)
) WITHOUT ROWID;
-- Expunges before the migration were not remembered: a client that asks must be told so.
ALTER TABLE folders ADD COLUMN vanished_floor INTEGER NOT NULL DEFAULT 0;
UPDATE folders SET vanished_floor = highest_modseq;
"""

MIGRATIONS = (_VERSION_1, _VERSION_2)
VERSION = len(MIGRATIONS)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection that commits when told to, and has synced when a commit returns."""
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10, cached_statements=_STATEMENTS_KEPT
    )
    try:
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def version_of(connection: sqlite3.Connection) -> int:
    """The number of migrations that were applied."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's version. Raises SettingsError when the file is not ours or from a newer mailjam."""
    version = version_of(connection)
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application != APPLICATION_ID and not empty:
        raise SettingsError(f"{path} is not a mailjam store: choose another directory with --data")
    if version > VERSION:
        raise SettingsError(f"{path} has schema {version}, this mailjam knows up to {VERSION}: use a newer mailjam")
    return version


def migrate(connection: sqlite3.Connection, path: Path) -> tuple[int, int]:
    """Bring the file to the present version: (version before, version now). Raises SettingsError, sqlite3.Error."""
    before = check_version(connection, path)
    for number in range(before, VERSION):
        script = f"BEGIN IMMEDIATE;\n{MIGRATIONS[number]}\nPRAGMA user_version = {number + 1};\n"
        try:
            connection.executescript(f"{script}PRAGMA application_id = {APPLICATION_ID};\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return before, VERSION
