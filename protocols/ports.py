"""All that a handler may await: typing.Protocols which `emulator` fulfils.

A handler that awaits nothing but these runs unchanged on asyncio, under the explorer (no event loop at all) and in a
plain test. Concrete classes: `emulator.transport.Connection`, `emulator.store.Store`, `emulator.converter.Converter`,
`emulator.directory.Directory`, `emulator.scheduling.AsyncioClock`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .actor import Actor
from .settings import FrontEndSettings

if TYPE_CHECKING:
    from .mime.structure import Part
    from .reader import Buffer


# --- errors that a port may raise; each front-end turns them into its own replies, in one place -----------------------


class PortError(Exception):
    """Something asked of a port could not be done; the text is fit for a reply."""


class NoSuchMailbox(PortError):
    """The named mailbox, folder or newsgroup does not exist."""


class AlreadyExists(PortError):
    """The name is taken."""


class NotPermitted(PortError):
    """The user has no right to do this, or nobody may."""


class NoSuchMessage(PortError):
    """The message has been expunged meanwhile."""


class OverQuota(PortError):
    """A limit of the mailbox or of the server would be passed."""


class InUse(PortError):
    """Another session holds the maildrop (RFC 1939 section 8)."""


class Unavailable(PortError):
    """The store cannot do it now: disk full, stopping, queue at its limit. Nothing was done; trying later is right."""


class Rejected(PortError):
    """The content cannot be accepted, now or later."""


class DeadlinePassed(Exception):
    """The peer said nothing for as long as it may."""


class ConnectionLost(Exception):
    """The peer is gone. The session ends; nothing that was acknowledged is undone."""


# --- the connection ---------------------------------------------------------------------------------------------------


class Connection(Protocol):
    """One peer. The transport feeds `buffer`; the session cuts from it."""

    @property
    def buffer(self) -> Buffer: ...
    @property
    def peer(self) -> str:
        """Address of the peer, for logs and trace fields."""
        ...

    @property
    def tls(self) -> bool:
        """Whether TLS is on now."""
        ...

    @property
    def tls_available(self) -> bool:
        """Whether `start_tls` can be offered: a certificate is there, TLS is not on, the transport can."""
        ...

    @property
    def compressed(self) -> bool: ...

    def write(self, pieces: Sequence[bytes]) -> None:
        """Send the pieces in one write. Never blocks; `drain` does."""
        ...

    async def drain(self) -> None:
        """Wait until the peer has read enough. Raises ConnectionLost, DeadlinePassed."""
        ...

    async def more(self, seconds_max: float | None) -> bool:
        """Wait until octets arrived since the last call, or `poke`. False: the peer will send no more.

        Raises DeadlinePassed after `seconds_max` seconds.
        """
        ...

    def poke(self) -> None:
        """Make `more` return: something other than the peer's octets wants the session's attention."""
        ...

    async def start_tls(self) -> None:
        """Become the server side of TLS on this connection. Octets already received are dropped."""
        ...

    def start_compression(self) -> None:
        """From here on both directions are raw DEFLATE (RFC 4978, RFC 8054); what is in `buffer` is compressed."""
        ...

    def channel_binding(self, kind: str) -> bytes | None:
        """Channel binding data (`tls-exporter`, `tls-server-end-point`), or None."""
        ...

    def close(self) -> None:
        """Send what was written, then close."""
        ...

    def abort(self) -> None:
        """Close now."""
        ...


class Handle(Protocol):
    """A call that can still be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Where time comes from."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle: ...

    async def sleep(self, seconds: float) -> None: ...


# --- the store --------------------------------------------------------------------------------------------------------


class Content(Protocol):
    """The byte-exact content of a message, one object for all its copies."""

    @property
    def digest(self) -> bytes: ...
    @property
    def size(self) -> int:
        """Octets of the message as it will be read."""
        ...

    @property
    def message_id(self) -> bytes:
        """The Message-ID with its angle brackets, or b""."""
        ...

    @property
    def derived(self) -> dict[str, Any]:
        """What front-ends computed from the content and want to keep (`imap.envelope`): a bounded cache.

        Values are immutable. The key begins with the protocol's name. See `Conversion.derive`.
        """
        ...


class Message(Protocol):
    """One message in one folder. Attributes are read-only for front-ends; `Store` changes them."""

    @property
    def uid(self) -> int: ...
    @property
    def flags(self) -> frozenset[str]:
        """System flags as in RFC 9051 (`\\Seen`), keywords as given. Never `\\Recent`, which is a session's."""
        ...

    @property
    def modseq(self) -> int: ...
    @property
    def internal_date(self) -> float:
        """Seconds since the epoch."""
        ...

    @property
    def zone_minutes(self) -> int:
        """Offset from UTC in which the INTERNALDATE was given."""
        ...

    @property
    def save_date(self) -> float:
        """When it came into this folder (RFC 8514), seconds since the epoch."""
        ...

    @property
    def size(self) -> int: ...
    @property
    def content(self) -> Content: ...
    @property
    def folder(self) -> Folder: ...
    @property
    def expunged(self) -> bool: ...
    @property
    def email_id(self) -> str:
        """RFC 8474: the same for every copy of one content."""
        ...


class FolderListener(Protocol):
    """A session that has a folder selected or watches it. Called at once, in the order of changes; must not block."""

    def appended(self, message: Any) -> None: ...
    def flags_changed(self, message: Any) -> None: ...
    def expunged(self, messages: Sequence[Any]) -> None: ...
    def folder_gone(self, folder: Any) -> None:
        """The folder was deleted (or its UIDVALIDITY changed): the session must forget it."""
        ...


class Folder(Protocol):
    """A mailbox in IMAP's words, a maildrop in POP3's (INBOX), a newsgroup in NNTP's."""

    @property
    def folder_id(self) -> int: ...
    @property
    def mailbox_id(self) -> str:
        """RFC 8474 MAILBOXID: survives renaming."""
        ...

    @property
    def name(self) -> str:
        """Within its mailbox, `/` between levels, Unicode. A newsgroup's name for a public folder."""
        ...

    @property
    def owner(self) -> Any:
        """The `Mailbox`, or None for a public folder (newsgroup)."""
        ...

    @property
    def uid_validity(self) -> int: ...
    @property
    def uid_next(self) -> int: ...
    @property
    def highest_modseq(self) -> int: ...
    @property
    def messages(self) -> Sequence[Any]:
        """All messages, ascending UIDs. A live list: copy it, never change it."""
        ...

    @property
    def uids(self) -> Sequence[int]:
        """Their UIDs, a live list too: `bisect` finds neighbours in it."""
        ...

    @property
    def size(self) -> int:
        """Sum of the message sizes, octets, kept up to date."""
        ...

    @property
    def unseen(self) -> int:
        """How many messages lack \\Seen, kept up to date."""
        ...

    @property
    def deleted(self) -> int:
        """How many messages have \\Deleted, kept up to date."""
        ...

    @property
    def subscribed(self) -> bool: ...
    @property
    def selectable(self) -> bool:
        """False for a name that only has children (\\Noselect)."""
        ...

    @property
    def special_use(self) -> str:
        """`\\Sent` and the like (RFC 6154), or an empty string."""
        ...

    @property
    def created(self) -> float: ...
    @property
    def description(self) -> str:
        """Of a newsgroup (RFC 3977 section 7.6.6)."""
        ...

    @property
    def posting(self) -> str:
        """Of a newsgroup: `y`, `n` or `m` (RFC 3977 section 7.6.3)."""
        ...

    @property
    def first_recent_uid(self) -> int:
        """Messages from this UID on are \\Recent to the next session that selects the folder."""
        ...

    def by_uid(self, uid: int) -> Any | None: ...

    def slice_by_uid(self, low: int, high: int) -> Sequence[Any]:
        """Messages with low <= UID <= high, in O(log n + result)."""
        ...

    def vanished_since(self, modseq: int) -> list[int] | None:
        """UIDs expunged after `modseq`, ascending, or None when that is further back than is remembered (RFC 7162)."""
        ...

    def listen(self, listener: FolderListener) -> None: ...
    def unlisten(self, listener: FolderListener) -> None: ...


class Store(Protocol):
    """Folders, messages, flags. What a coroutine returned is durable; what raised was not done."""

    def mailbox(self, user: str) -> Any:
        """The `Mailbox` of a user. Raises NoSuchMailbox."""
        ...

    def newsgroup(self, name: str) -> Any:
        """Raises NoSuchMailbox."""
        ...

    @property
    def newsgroups(self) -> dict[str, Any]:
        """All newsgroups by name."""
        ...

    def find_message_id(self, message_id: bytes) -> Sequence[Any]:
        """All copies in newsgroups of the article `<id>`."""
        ...

    @property
    def mailboxes(self) -> dict[str, Any]:
        """All users' mailboxes by name."""
        ...

    @property
    def folders_by_id(self) -> dict[int, Any]:
        """All folders and newsgroups by `folder_id`."""
        ...

    @property
    def annotations(self) -> dict[tuple[str, str], bytes]:
        """What `annotate` keeps, by scope and key. Never changed by front-ends."""
        ...

    async def annotate(self, scope: str, key: str, value: bytes | None) -> None:
        """Keep a named value (`folder:7`, `acl`); None removes it. Scopes: `server`, `mailbox:NAME`, `folder:ID`."""
        ...

    @property
    def quota_bytes_max(self) -> int:
        """Quota of each mailbox, octets; 0: none."""
        ...

    def claim_recent(self, folder: Any) -> int:
        """Make all messages that are there no longer \\Recent to others: the UID from which on they were."""
        ...

    async def save_folder(self, folder: Any) -> None:
        """Keep what was changed about a folder (special use, first recent UID)."""
        ...

    async def create_folder(self, mailbox: Any, name: str, *, special_use: str = "") -> Any: ...
    async def delete_folder(self, folder: Any) -> None: ...
    async def rename_folder(self, folder: Any, name: str) -> None: ...
    async def subscribe(self, mailbox: Any, name: str, subscribed: bool) -> None: ...
    async def create_newsgroup(self, name: str, *, description: str = "", posting: str = "y") -> Any: ...
    async def delete_newsgroup(self, name: str) -> None: ...

    async def set_flags(
        self,
        folder: Any,
        messages: Iterable[Any],
        mode: str,
        flags: frozenset[str],
        *,
        unchanged_since: int | None = None,
    ) -> tuple[list[Any], list[Any]]:
        """Set flags: `mode` is `+`, `-` or `=`.

        Returns (messages now having the flags, messages that failed `unchanged_since`). Expunged ones are passed over.
        """
        ...

    async def advance_modseq(self, folder: Any) -> None:
        """Raise HIGHESTMODSEQ, for something about the folder other than its messages has changed."""

    async def expunge(self, folder: Any, messages: Iterable[Any]) -> list[int]:
        """Remove messages for good; the UIDs that were there."""
        ...

    async def copy(self, messages: Sequence[Any], target: Any) -> list[Any]:
        """Copy with flags and INTERNALDATE; all or none. The new messages, in order."""
        ...

    async def move(self, messages: Sequence[Any], target: Any) -> list[Any]:
        """Copy and expunge in one commit (RFC 6851)."""
        ...

    def lock_maildrop(self, mailbox: Any, owner: Any) -> None:
        """Raises InUse."""
        ...

    def unlock_maildrop(self, mailbox: Any, owner: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message shall be put, and how it shall look there."""

    folder: Any
    flags: frozenset[str] = frozenset()
    internal_date: float | None = None
    """Seconds since the epoch; None: now."""
    zone_minutes: int = 0
    frees_octets: int = 0
    """What the mailbox will be rid of when the message is there, so that it does not count against the quota."""


class Conversion(Protocol):
    """The IMAIL conversion stage: the only way in and out of the store for content. Enters critical sections."""

    async def octets(self, message: Any) -> bytes:
        """The message as MIME: outbound conversion unless it was read before. Raises NoSuchMessage, Unavailable."""
        ...

    async def structure(self, message: Any) -> tuple[bytes, Part]:
        """Octets and their MIME structure without conversion (found when the message came in). Takes no section."""
        ...

    async def derive(self, message: Any, key: str, compute: Callable[[bytes, Part], Any]) -> Any:
        """`content.derived[key]`, computed from `structure` when it is not there. Takes no section."""
        ...

    async def put(self, octets: bytes, targets: Sequence[Target]) -> list[Any]:
        """Inbound conversion on the caller's task, then one append to all targets: the new messages, in order."""
        ...

    async def put_all(self, items: Sequence[tuple[bytes, Sequence[Target]]]) -> list[list[Any]]:
        """As `put`, for several messages, all or none (MULTIAPPEND, RFC 3502)."""
        ...


class Directory(Protocol):
    """Who there is. Reading it takes no section; the conversion stage has its own serialized copy."""

    def authenticate(self, user: str, password: str) -> str | None:
        """The canonical user name when the password is right (compared in constant time), else None."""
        ...

    async def verify(self, user: str, password: str) -> str | None:
        """As `authenticate`; others go on while the hash of a stored password is computed."""
        ...

    def secret(self, user: str) -> str | None:
        """The password itself where it is known in plain (CRAM-MD5, APOP, SCRAM need it), else None."""
        ...

    @property
    def has_secrets(self) -> bool:
        """Whether passwords are known at all (SCRAM is offered only then)."""
        ...

    @property
    def has_tokens(self) -> bool:
        """Whether there is any bearer token (XOAUTH2 and OAUTHBEARER are offered only then)."""
        ...

    def token_user(self, token: str) -> str | None:
        """The user for whom a bearer token was issued (XOAUTH2, OAUTHBEARER), else None."""
        ...

    def find(self, address: str) -> str | None:
        """The name of the mailbox that an address reaches now, or None (VRFY)."""
        ...

    def members(self, address: str) -> Sequence[str] | None:
        """The members of a distribution list, or None (EXPN)."""
        ...

    async def login(self, user: str) -> Any:
        """The `Mailbox` of an authenticated user; made when the settings say so. Raises NoSuchMailbox, Unavailable."""
        ...


class Submission(Protocol):
    """The Internet Mail Service's inbound side: a message is in the spool, durable, before this returns."""

    @property
    def extensions(self) -> frozenset[str]:
        """What of SMTP is honoured behind the front-end: of DSN, ETRN, FUTURERELEASE, MT-PRIORITY, REQUIRETLS."""
        ...

    async def start_queue(self, node: str) -> int:
        """Try now what is held for a domain (`@domain`: its subdomains too): how many messages (ETRN, RFC 1985)."""
        ...

    async def submit(self, reverse_path: str, recipients: Sequence[str], octets: bytes, options: Any = None) -> str:
        """The spool file's name. Raises Unavailable (limit reached: 452), Rejected, OverQuota."""
        ...

    def check_recipient(self, address: str) -> None:
        """Raises NoSuchMailbox when mail for `address` would not be taken (550), Unavailable (450, 452)."""
        ...


class Events(Protocol):
    """The in-process bus. Publishing never blocks and never raises."""

    def publish(self, event: Any) -> None: ...


class Monitor(Protocol):
    """Watches sessions and may interfere with them: transcripts and fault scripts. Nobody, unless somebody asked."""

    def session_opened(self, session: Any) -> None:
        """The peer is connected, nothing was said yet: the place for `session.connection.watch(tap)`."""
        ...

    def before_handshake(self, protocol: str, peer: str) -> Awaitable[None] | None:
        """A peer is connected to a port with TLS from the first octet. What is returned is awaited instead of TLS."""
        ...

    async def around(
        self, session: Any, command: str, arguments: Any, run: Callable[[], Awaitable[Any]]
    ) -> bytes | tuple[bytes, ...]:
        """Run one command and return its reply, or another one. `arguments` are octets or a parser over them.

        `CONNECT` is what happens before the greeting, whose text `run` returns. Raises what `run` raises, and
        ConnectionLost where the monitor ended the session.
        """
        ...


@dataclass(slots=True)
class Services:
    """Everything a session reaches, in one value."""

    store: Store
    conversion: Conversion
    directory: Directory
    submission: Submission
    clock: Clock
    events: Events
    settings: FrontEndSettings = field(default_factory=FrontEndSettings)
    random_octets: Callable[[int], bytes] = os.urandom
    """So many unpredictable octets, for nonces and identifiers; the explorer and tests give fixed ones."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What sessions of one front-end remember together (`nntp.history`); the key begins with the protocol's name."""
    monitor: Monitor | None = None
    """Who watches sessions; None costs one comparison for each command."""


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """Event: a peer was greeted."""

    protocol: str
    actor: Actor
    peer: str


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """Event: a session ended; `seconds` it took and how it ended (`logout`, `peer closed`, `deadline`, `error`…)."""

    protocol: str
    actor: Actor
    peer: str
    seconds: float
    commands: int
    octets_sent: int
    how: str
