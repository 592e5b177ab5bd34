"""A new file with every row that can still be read from a damaged one, which is kept beside it.

Where the first page is damaged, SQLite does not open the file at all, for the schema is in it. That of a new store is
put in its place: tables are made in the same order by every mailjam, so it says where each begins.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from emulator.spool import sync_folder

from . import schema
from .names import FILE_NAME

COLUMN_TYPES: dict[str, tuple[str, ...]] = {
    "meta": ("text", "integer"),
    "mailboxes": ("text",),
    "folders": (
        *("integer", "text or null", "text", *("integer",) * 5),
        *("text", "real or integer", "text", "text", "integer"),
    ),
    "subscriptions": ("text", "text"),
    "contents": ("integer", "blob", "integer", "blob"),
    "bodies": ("integer", "integer", "integer", "blob"),
    "messages": (
        *("integer", "integer", "integer", "text", "real or integer", "integer", "real or integer", "integer"),
    ),
    "spool_done": ("text",),
    "annotations": ("text", "text", "blob"),
    "vanished": ("integer", "integer", "integer"),
}
"""SQLite keeps any type in any column; these are what the store writes (the names are those of typeof)."""

_PYTHON_TYPES = {"text": str, "integer": int, "real": float, "blob": bytes, "null": type(None)}
_PAGE_OCTETS = 4096
_PAGES_AT, _FREE_PAGES_AT, _CHANGES_AT, _VALID_FOR_AT = 28, 32, 24, 92
"""Where the header of a file has its number of pages, its free pages (two numbers), its counter of changes (twice)."""


def rows_of_wrong_type(connection: sqlite3.Connection, table: str) -> int:
    """How many rows of a table hold a value of a type that the store never writes. Raises sqlite3.Error."""
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    if len(names) != len(COLUMN_TYPES[table]):
        raise sqlite3.DatabaseError(f"table {table} is not what it should be")
    right = " AND ".join(
        f"typeof({name}) IN ({', '.join(map(repr, kinds.split(' or ')))})"
        for name, kinds in zip(names, COLUMN_TYPES[table], strict=True)
    )
    return int(connection.execute(f"SELECT count(*) FROM {table} WHERE NOT ({right})").fetchone()[0])  # noqa: S608


def rebuild(directory: Path, connection: sqlite3.Connection | None, say: Callable[[str], None]) -> sqlite3.Connection:
    """Replace the file: a connection to the new one. `connection`: None where the old one could not be opened.

    Raises sqlite3.Error, OSError.
    """
    path = directory / FILE_NAME
    fresh = directory / f"{FILE_NAME}.new"
    _remove(fresh)
    new = schema.connect(fresh)
    schema.migrate(new, fresh)
    new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    old, transplant = connection, None
    if old is None:
        transplant = _transplant(directory, fresh)
        old = sqlite3.connect(transplant, isolation_level=None)
    new.execute("BEGIN")
    counts = {table: _copy_table(old, new, table) for table in COLUMN_TYPES}
    new.execute("COMMIT")
    old.close()
    new.close()
    if transplant is not None:
        _remove(transplant)
    damaged = directory / f"{FILE_NAME}.damaged"
    for suffix in ("", "-wal", "-shm"):
        was = directory / f"{FILE_NAME}{suffix}"
        if was.exists():
            was.replace(directory / f"{damaged.name}{suffix}")
    fresh.replace(path)
    sync_folder(directory)
    say(
        f"the file was damaged: {counts['messages']} messages and {counts['bodies']} bodies were read from it"
        f" into a new one; the old one is {damaged.name}"
    )
    return schema.connect(path)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _transplant(directory: Path, fresh: Path) -> Path:
    """A copy of the damaged file and its log, with the first page of a new store."""
    copy = directory / f"{FILE_NAME}.readable"
    _remove(copy)
    shutil.copyfile(directory / FILE_NAME, copy)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(directory / f"{FILE_NAME}-wal", f"{copy}-wal")
    page = bytearray(fresh.read_bytes()[:_PAGE_OCTETS])
    pages = max(1, copy.stat().st_size // _PAGE_OCTETS)
    for place, number in ((_PAGES_AT, pages), (_FREE_PAGES_AT, 0), (_FREE_PAGES_AT + 4, 0)):
        page[place : place + 4] = number.to_bytes(4, "big")
    page[_VALID_FOR_AT : _VALID_FOR_AT + 4] = page[_CHANGES_AT : _CHANGES_AT + 4]
    with copy.open("r+b") as file:
        file.write(page)
    return copy


def _copy_table(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> int:
    """Copy what can be read, from both ends of the table towards a damaged page: how many rows there are then."""
    for order in ("", " ORDER BY 1 DESC"):
        try:
            _copy_rows(old.execute(f"SELECT * FROM {table}{order}"), new, table)  # noqa: S608 - our own names
            break
        except sqlite3.Error:
            continue
    return int(new.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


def _copy_rows(rows: Iterable[tuple[Any, ...]], new: sqlite3.Connection, table: str) -> None:
    kinds = [tuple(_PYTHON_TYPES[kind] for kind in column.split(" or ")) for column in COLUMN_TYPES[table]]
    verb = "REPLACE" if table == "meta" else "IGNORE"  # a new store has begun to count
    statement = f"INSERT OR {verb} INTO {table} VALUES ({', '.join('?' * len(kinds))})"  # noqa: S608
    for row in rows:
        new.execute(statement, [_of_type(value, kind) for value, kind in zip(row, kinds, strict=False)])


def _of_type(value: Any, kinds: tuple[type, ...]) -> Any:
    """The value, or the nearest one of a type that the column has: what it is worth is found out afterwards."""
    if isinstance(value, kinds):
        return value
    kind = kinds[0]
    if kind is str:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        return "".join(character if character.isprintable() else "?" for character in text)
    if kind is bytes:
        return str(value).encode()
    try:
        return kind(value)
    except (TypeError, ValueError):
        return kind()
