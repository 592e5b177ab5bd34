"""Changes of the store as values: what a backend makes durable, and what it gives back at start.

`Store` decides a change, hands it to its backend, and applies it to the index in memory once the backend says that it
is durable. The records name folders and messages by number, so that a backend needs to know nothing of the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from protocols.ports import Unavailable

    from .content import Content
    from .properties import PropertyMessage


@dataclass(frozen=True, slots=True)
class MailboxMade:
    """A user's mailbox, without folders."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class MailboxDeleted:
    """A mailbox and all its folders are gone."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class FolderSaved:
    """A folder is new, or something about it (not its messages) has changed. `mailbox` is None for a newsgroup."""

    folder_id: int
    mailbox: str | None
    name: str
    uid_validity: int
    uid_next: int
    highest_modseq: int
    first_recent_uid: int
    selectable: bool
    special_use: str
    created: float
    description: str
    posting: str


@dataclass(frozen=True, slots=True)
class FolderDeleted:
    """A folder and its messages are gone."""

    folder_id: int


@dataclass(frozen=True, slots=True)
class SubscriptionsSet:
    """The subscribed names of a mailbox, all of them."""

    mailbox: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Appended:
    """A message is new in a folder."""

    folder_id: int
    uid: int
    modseq: int
    flags: frozenset[str]
    internal_date: float
    zone_minutes: int
    save_date: float
    content: Content


@dataclass(frozen=True, slots=True)
class ContentForgotten:
    """No message has this content any more."""

    content: Content


@dataclass(frozen=True, slots=True)
class FlagsSet:
    """Messages of a folder have these flags now."""

    folder_id: int
    modseq: int
    flags: tuple[tuple[int, frozenset[str]], ...]
    """(UID, flags) of each."""


@dataclass(frozen=True, slots=True)
class Expunged:
    """Messages of a folder are gone."""

    folder_id: int
    modseq: int
    uids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SpoolDone:
    """The message of that name was delivered: if its file is found again after a crash, that must not happen twice."""

    spool_name: str
    on_disk: bool = True
    """Whether it has a file; one that came straight from its sender (emulator.held) has none to be remembered for."""


@dataclass(frozen=True, slots=True)
class SpoolForgotten:
    """The spool file is gone for good; its name need not be remembered."""

    spool_name: str


@dataclass(frozen=True, slots=True)
class AnnotationSet:
    """Something kept for a mailbox or the server by name: METADATA, ACL, quota, an account's stored password."""

    scope: str
    """`server`, `mailbox:NAME` or `folder:ID`."""
    key: str
    value: bytes | None
    """None: removed."""


Change = (
    MailboxMade
    | MailboxDeleted
    | FolderSaved
    | FolderDeleted
    | SubscriptionsSet
    | Appended
    | ContentForgotten
    | FlagsSet
    | Expunged
    | SpoolDone
    | SpoolForgotten
    | AnnotationSet
)


MessageRow = tuple[int, int, int, frozenset[str], float, int, float, int]
"""(folder, UID, mod-sequence, flags, internal date, zone minutes, save date, row of the content)."""


@dataclass(slots=True)
class Loaded:
    """What a backend had kept."""

    mailboxes: list[str] = field(default_factory=list)
    folders: list[FolderSaved] = field(default_factory=list)
    subscriptions: list[SubscriptionsSet] = field(default_factory=list)
    annotations: list[AnnotationSet] = field(default_factory=list)
    spool_done: list[str] = field(default_factory=list)
    contents: dict[int, Content] = field(default_factory=dict)
    """By row."""
    messages: Iterable[MessageRow] = ()
    """Ascending by folder and UID."""
    vanished: Iterable[tuple[int, int, int]] = ()
    """(folder, mod-sequence, UID), ascending."""
    vanished_floors: dict[int, int] = field(default_factory=dict)
    """By folder: expunges up to this mod-sequence are not among them."""
    last_folder_id: int = 0
    """The largest that was ever given to a folder; none is used twice."""
    last_uid_validity: int = 0


Settle = Callable[[bool], None]
"""Called once with whether the changes were kept: the store applies them to its index, or takes back what it drew."""

Done = Callable[["Unavailable | None"], None]
"""Called once after `Settle`: None when the changes are durable, else why they are not."""


class Backend(Protocol):
    """Where changes are kept."""

    async def commit(self, changes: Sequence[Change], settle: Settle) -> None:
        """Keep the changes, all or none, after all that were handed over earlier; return when they are durable.

        They are handed over before the first suspension. `settle` is called on the event loop before this returns, in
        the order of the calls, also when the caller is cancelled meanwhile: what was handed over cannot be recalled.
        When one commit fails, those that were handed over before its failure was settled fail with it, because they may
        build on it.

        Raises protocols.ports.Unavailable: then nothing was kept.
        """
        ...

    def hand_over(self, changes: Sequence[Change], settle: Settle, done: Done) -> None:
        """As `commit`, for whoever goes on meanwhile and is told by `done`, on the event loop, perhaps at once."""
        ...

    async def read(self, content: Content, ahead: Sequence[Content] = ()) -> PropertyMessage:
        """The property message of a content. Raises Unavailable, NoSuchMessage.

        `ahead`: what will probably be read next, and may be brought into memory on the same trip.
        """
        ...

    async def close(self) -> None:
        """End; all that was handed over is settled first. No harm when it is closed already."""
        ...


class MemoryBackend:
    """Keeps nothing beyond the process; contents hold their own message."""

    async def commit(self, changes: Sequence[Change], settle: Settle) -> None:
        """Nothing to keep: what is in memory is all there is."""
        settle(True)

    def hand_over(self, changes: Sequence[Change], settle: Settle, done: Done) -> None:
        """Nothing to keep: done at once."""
        settle(True)
        done(None)

    async def read(self, content: Content, ahead: Sequence[Content] = ()) -> PropertyMessage:
        message = content.message
        assert message is not None, "without a durable backend every content has its message"
        return message

    async def close(self) -> None:
        """Nothing to do."""
