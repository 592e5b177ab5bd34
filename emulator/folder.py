"""Folders and their messages: the index in memory. Changed by `store.Store` alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from protocols.ports import FolderListener

from .changes import FolderSaved

if TYPE_CHECKING:
    from .content import Content

SEEN = "\\Seen"
DELETED = "\\Deleted"


class Message:
    """One message in one folder."""

    __slots__ = (
        "content",
        "expunged",
        "flags",
        "folder",
        "internal_date",
        "modseq",
        "save_date",
        "uid",
        "zone_minutes",
    )

    def __init__(
        self,
        folder: Folder,
        uid: int,
        modseq: int,
        flags: frozenset[str],
        internal_date: float,
        zone_minutes: int,
        save_date: float,
        content: Content,
    ) -> None:
        self.folder = folder
        self.uid = uid
        self.modseq = modseq
        self.flags = flags
        self.internal_date = internal_date
        self.zone_minutes = zone_minutes
        self.save_date = save_date
        self.content = content
        self.expunged = False

    @property
    def size(self) -> int:
        """Octets as MIME."""
        return self.content.size

    @property
    def email_id(self) -> str:
        """The same for every copy of one content (RFC 8474 section 5.1)."""
        return f"M{self.content.digest.hex()}"

    def __repr__(self) -> str:
        return f"<Message {self.folder.name}/{self.uid}>"


class Mailbox:
    """A user's folders by name, `/` between levels; INBOX always exists."""

    __slots__ = ("folders", "locked_by", "name", "size", "size_pending", "subscriptions")

    def __init__(self, name: str) -> None:
        self.name = name
        self.folders: dict[str, Folder] = {}
        self.subscriptions: set[str] = set()
        self.locked_by: object | None = None
        """The POP3 session that has the maildrop (RFC 1939 section 3)."""
        self.size = 0
        """Octets of all messages, for quotas."""
        self.size_pending = 0
        """Octets of messages on their way to disk."""

    @property
    def inbox(self) -> Folder:
        """The maildrop."""
        return self.folders["INBOX"]


class Folder:
    """Messages in ascending order of UID, and the sessions that watch them."""

    __slots__ = (
        "closing",
        "created",
        "deleted",
        "description",
        "first_recent_uid",
        "folder_id",
        "gone",
        "highest_modseq",
        "leaving",
        "listeners",
        "messages",
        "messages_pending",
        "modseq_drawn",
        "name",
        "owner",
        "pending_flags",
        "posting",
        "selectable",
        "size",
        "special_use",
        "uid_drawn",
        "uid_next",
        "uid_validity",
        "uids",
        "unseen",
        "vanished",
        "vanished_floor",
    )

    def __init__(self, folder_id: int, owner: Mailbox | None, name: str, uid_validity: int, created: float) -> None:
        self.folder_id = folder_id
        self.owner = owner
        self.name = name
        self.uid_validity = uid_validity
        self.uid_next = 1
        self.highest_modseq = 1
        self.first_recent_uid = 1
        self.selectable = True
        self.special_use = ""
        self.created = created
        self.description = ""
        self.posting = "y"
        self.messages: list[Message] = []
        self.uids: list[int] = []
        self.size = 0
        self.unseen = 0
        self.deleted = 0
        self.gone = False
        self.closing = False
        """Its deletion is on its way to disk: nothing is put into it any more."""
        self.uid_drawn = 0
        """The last UID given to a message, be it on its way to disk. `uid_next` follows when the message is there."""
        self.modseq_drawn = 1
        """The same for mod-sequences: HIGHESTMODSEQ never names a change that a client could not see yet."""
        self.messages_pending = 0
        """Messages on their way to disk."""
        self.leaving: set[int] = set()
        """UIDs whose expunge is on its way to disk."""
        self.listeners: list[FolderListener] = []
        self.vanished: deque[tuple[int, int]] = deque()
        """(mod-sequence, UID) of what was expunged, oldest first."""
        self.vanished_floor = 0
        """Expunges up to this mod-sequence may have been forgotten."""
        self.pending_flags: dict[int, tuple[int, frozenset[str]]] = {}
        """(mod-sequence, flags) on their way to disk, by UID: a second change starts from these."""

    @property
    def subscribed(self) -> bool:
        """Whether the owner subscribed to it (RFC 9051 section 6.3.7)."""
        return self.owner is not None and self.name in self.owner.subscriptions

    @property
    def mailbox_id(self) -> str:
        """RFC 8474 section 4: survives renaming."""
        return f"F{self.folder_id:x}-{self.uid_validity:x}"

    def by_uid(self, uid: int) -> Message | None:
        """The message with that UID, in O(log n)."""
        index = bisect_left(self.uids, uid)
        return self.messages[index] if index < len(self.uids) and self.uids[index] == uid else None

    def slice_by_uid(self, low: int, high: int) -> Sequence[Message]:
        """Messages with low <= UID <= high."""
        return self.messages[bisect_left(self.uids, low) : bisect_right(self.uids, high)]

    def vanished_since(self, modseq: int) -> list[int] | None:
        """UIDs expunged after `modseq`, ascending; None when not all are remembered (RFC 7162 section 3.2.7)."""
        if modseq < self.vanished_floor:
            return None
        found = []
        for then, uid in reversed(self.vanished):
            if then <= modseq:
                break
            found.append(uid)
        return sorted(found)

    def listen(self, listener: FolderListener) -> None:
        """Tell `listener` of every change from now on."""
        self.listeners = [*self.listeners, listener]

    def unlisten(self, listener: FolderListener) -> None:
        """Undo `listen`; no harm where it was not listening."""
        self.listeners = [kept for kept in self.listeners if kept is not listener]

    def saved(self) -> FolderSaved:
        """The record that describes the folder, its messages apart."""
        return FolderSaved(
            self.folder_id,
            self.owner.name if self.owner is not None else None,
            self.name,
            self.uid_validity,
            self.uid_next,
            self.highest_modseq,
            self.first_recent_uid,
            self.selectable,
            self.special_use,
            self.created,
            self.description,
            self.posting,
        )

    def __repr__(self) -> str:
        return f"<Folder {self.owner.name if self.owner else 'public'}:{self.name} {len(self.messages)} messages>"
