"""Reading a data directory at start: all that the index needs, no bodies."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
from collections.abc import Iterator

from emulator.changes import AnnotationSet, FolderSaved, Loaded, MessageRow, SubscriptionsSet
from emulator.content import Content

_FOLDERS = """
SELECT folder_id, mailbox, name, uid_validity, uid_next, highest_modseq, first_recent_uid, selectable, special_use,
    created, description, posting, vanished_floor FROM folders ORDER BY folder_id
"""
_MESSAGES = """
SELECT folder_id, uid, modseq, flags, internal_date, zone_minutes, save_date, content_id FROM messages
ORDER BY folder_id, uid
"""


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """For making hundreds of thousands of objects that all stay: collecting in between only costs time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def load(connection: sqlite3.Connection) -> Loaded:
    """Everything but bodies. `messages` and `vanished` are read as they are used, from the same connection."""
    run = connection.execute
    meta = dict(run("SELECT key, value FROM meta"))
    loaded = Loaded(
        mailboxes=[name for (name,) in run("SELECT name FROM mailboxes")],
        annotations=[AnnotationSet(*row) for row in run("SELECT scope, key, value FROM annotations")],
        spool_done=[name for (name,) in run("SELECT name FROM spool_done")],
        contents=_contents(connection),
        messages=_messages(connection),
        vanished=run("SELECT folder_id, modseq, uid FROM vanished ORDER BY folder_id, modseq, uid"),
        last_folder_id=meta["last_folder_id"],
        last_uid_validity=meta["last_uid_validity"],
    )
    for *values, floor in run(_FOLDERS):
        values[7] = bool(values[7])
        saved = FolderSaved(*values)
        loaded.folders.append(saved)
        loaded.vanished_floors[saved.folder_id] = floor
    subscribed: dict[str, list[str]] = {}
    for mailbox, name in run("SELECT mailbox, name FROM subscriptions ORDER BY mailbox, name"):
        subscribed.setdefault(mailbox, []).append(name)
    loaded.subscriptions = [SubscriptionsSet(mailbox, tuple(names)) for mailbox, names in subscribed.items()]
    return loaded


def _contents(connection: sqlite3.Connection) -> dict[int, Content]:
    contents = {}
    for row, digest, size, message_id in connection.execute(
        "SELECT content_id, digest, size, message_id FROM contents"
    ):
        content = contents[row] = Content(digest, size, None, message_id)
        content.row = row
    return contents


def _messages(connection: sqlite3.Connection) -> Iterator[MessageRow]:
    flags_of: dict[str, frozenset[str]] = {}  # few combinations, so equal sets are one object
    for folder_id, uid, modseq, text, date, zone_minutes, save_date, row in connection.execute(_MESSAGES):
        flags = flags_of.get(text)
        if flags is None:
            flags = flags_of[text] = frozenset(text.split())
        yield folder_id, uid, modseq, flags, date, zone_minutes, save_date, row
