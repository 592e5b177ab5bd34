"""What is kept of a large folder so that a search of all of it does not look at each message.

Columns: for a flag, or for a text in a field, an octet for each message of the folder in order, 1 where it is there.
Read as one number (`int.from_bytes`) columns are combined by `&`, `|` and `^` at the speed of memory. The index listens
to its folder as a session does, so columns of flags follow STORE, and all follow EXPUNGE; what was appended is looked
at when a search wants to know. Texts are joined, some thousand to a block: a block in which the text that is looked for
does not occur costs one search for a substring, not one for each message.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from protocols.ports import NoSuchMessage

from .records import SEARCH_KEY, SearchRecord, search_records
from .sequence import Ranges

if TYPE_CHECKING:
    from .progress import Progress
    from .session import ImapSession

INDEX_KEY = "imap.folder_index"
BLOCK_MESSAGES = 2048
"""Messages whose texts are joined."""
BLOCK_CHARACTERS_MAX = 1 << 18
"""A block with longer texts is not joined, but looked through message by message."""
FLAGS_MAX = 16
"""Flags of one folder for which a column is kept: an octet for each message and flag."""
REMOVED_FEW = 16
"""So many messages are taken out of columns one by one; after more the columns are made anew."""
FOLDERS_MAX = 64
"""Folders of one server that have an index; the one that was not searched for longest loses it."""
MESSAGES_MAX = 200_000
"""Messages in all these folders together, as many as have their records kept; a larger folder has no index."""
LOAD_MESSAGES = 5000
"""Records collected before other sessions have their turn."""


class FolderIndex:
    """Columns of one folder."""

    __slots__ = ("_changed", "_flags", "_joined", "_records", "folder", "gone")

    def __init__(self, folder: Any) -> None:
        self.folder = folder
        self.gone = False
        """Whether the folder tells of its changes no more."""
        self._flags: dict[str, bytearray] = {}
        self._changed: list[Any] = []
        """Messages whose flags are others than the columns say."""
        self._records: list[SearchRecord] = []
        self._joined: dict[tuple[int, int], tuple[int, str]] = {}
        """(field, block) → how many messages' texts are joined, and the text."""
        folder.listen(self)

    # --- told by the folder -------------------------------------------------------------------------------------------

    def appended(self, message: Any) -> None:
        """Nothing: columns are made longer when they are read."""

    def flags_changed(self, message: Any) -> None:
        """To be looked at when a column is read; where most of the folder changes, it is made anew."""
        if self._flags:
            self._changed.append(message)
            if len(self._changed) > 100 + len(self.folder.messages) // 8:
                self._flags.clear()
                self._changed.clear()

    def expunged(self, messages: Sequence[Any]) -> None:
        """Take them out of all columns."""
        if len(messages) > REMOVED_FEW:
            self._forget()
            return
        uids = self.folder.uids  # they are not there any more: each stood as much further down as went before it
        gone = sorted(message.uid for message in messages)
        for removed, uid in reversed(list(enumerate(gone))):
            position = bisect_left(uids, uid) + removed
            del self._records[position : position + 1]
            for column in self._flags.values():
                del column[position : position + 1]
            for field, block in [key for key in self._joined if key[1] >= position // BLOCK_MESSAGES]:
                del self._joined[field, block]

    def folder_gone(self, folder: Any) -> None:
        """Nothing that was known of it holds."""
        self.gone = True
        self._forget()

    def _forget(self) -> None:
        self._flags.clear()
        self._changed.clear()
        self._records.clear()
        self._joined.clear()

    # --- columns ------------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many messages a column has."""
        return len(self.folder.messages)

    def all(self) -> int:
        """The column in which each message is."""
        return int.from_bytes(b"\1" * self.count, "little")

    def flag(self, name: str) -> int:
        """The column of a flag."""
        self._catch_up()
        column = self._flags.get(name)
        if column is None:
            if len(self._flags) >= FLAGS_MAX:
                del self._flags[next(iter(self._flags))]
            column = self._flags[name] = bytearray()
        if len(column) < self.count:
            column.extend([name in message.flags for message in self.folder.messages[len(column) :]])
        return int.from_bytes(column, "little")

    def _catch_up(self) -> None:
        changed, self._changed = self._changed, []
        for message in changed:
            if message.expunged:
                continue
            position = bisect_left(self.folder.uids, message.uid)
            for name, column in self._flags.items():
                if position < len(column):
                    column[position] = name in message.flags

    def numbers(self, ranges: Ranges) -> int:
        """The column of message numbers."""
        return self._spans((low - 1, high) for low, high in ranges)

    def uids(self, ranges: Ranges) -> int:
        """The column of UIDs."""
        uids = self.folder.uids
        return self._spans((bisect_left(uids, low), bisect_right(uids, high)) for low, high in ranges)

    def _spans(self, spans: Iterable[tuple[int, int]]) -> int:
        column = bytearray(self.count)
        for start, stop in spans:
            column[start:stop] = b"\1" * (stop - start)
        return int.from_bytes(column, "little")

    async def load(self, session: ImapSession, progress: Progress) -> None:
        """Have the record of each message; needed before `text` and `sent`. Raises NoSuchMessage."""
        folder, records = self.folder, self._records
        while len(records) < len(folder.messages):
            start = len(records)
            stirred = False
            for message in folder.messages[start : start + LOAD_MESSAGES]:
                record = message.content.derived.get(SEARCH_KEY)
                if record is None:
                    stirred = True
                    try:
                        record = await search_records(session, message)
                    except NoSuchMessage:
                        if not message.expunged:
                            raise
                        break
                # while it waited messages may have gone, and another session may have collected records, too
                if stirred and folder.messages[len(records) : len(records) + 1] != [message]:
                    break
                records.append(record)
            if len(records) < len(folder.messages):
                await progress.rest(len(records))

    def text(self, field: int, needle: str) -> int:
        """The column of a case-folded text in a field of the record; `load` first."""
        records = self._records
        out: list[bytes] = []
        for start in range(0, len(records), BLOCK_MESSAGES):
            some = records[start : start + BLOCK_MESSAGES]
            joined = self._block(field, start // BLOCK_MESSAGES, some)
            if joined is not None and needle not in joined:
                out.append(bytes(len(some)))
            else:
                out.append(bytes([needle in record[field] for record in some]))  # type: ignore[operator]
        return int.from_bytes(b"".join(out), "little")

    def _block(self, field: int, block: int, records: list[SearchRecord]) -> str | None:
        """Texts of the records in one; what is found across their borders is in none of them, and does no harm."""
        count, joined = self._joined.get((field, block), (0, ""))
        if count != len(records):
            joined = "\n".join([record[field] for record in records])  # type: ignore[misc]
            if len(joined) > BLOCK_CHARACTERS_MAX:
                return None
            self._joined[field, block] = len(records), joined
        return joined

    def sent(self, compare: Any, day: int) -> int:
        """The column of a comparison with the day of the Date field; `load` first."""
        days = [record.sent_day for record in self._records]
        return int.from_bytes(bytes([sent is not None and compare(sent, day) for sent in days]), "little")

    def close(self) -> None:
        """Follow the folder no more."""
        self.folder.unlisten(self)
        self.folder_gone(self.folder)


def index_of(session: ImapSession, folder: Any) -> FolderIndex:
    """The index of a folder, for all sessions; made when it is not there."""
    indexes: dict[Any, FolderIndex] = session.services.shared.setdefault(INDEX_KEY, {})
    for gone in [other for other, index in indexes.items() if index.gone]:
        del indexes[gone]
    found = indexes.pop(folder, None)
    index = indexes[folder] = found if found is not None else FolderIndex(folder)
    while len(indexes) > 1 and (
        len(indexes) > FOLDERS_MAX or sum(other.count for other in indexes.values()) > MESSAGES_MAX
    ):
        indexes.pop(next(iter(indexes))).close()
    return index
