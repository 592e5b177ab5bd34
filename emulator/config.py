"""The settings of a running system: one frozen object, checked once, with every limit in it.

A flag `--smtp-port` of the command line, the variable `MAILJAM_SMTP_PORT` and the field `smtp_port` are the same thing.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from protocols.settings import FrontEndSettings, Limits
from protocols.wildmat import Wildmat, WildmatError

from .builds import DEFAULT_BUILD, Build, find_build
from .scheduling import Preemption


class SettingsError(ValueError):
    """A setting cannot be used; the text is one line that names the fix."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user who may log in."""

    name: str
    password: str


@dataclass(frozen=True, slots=True)
class Newsfeed:
    """Another news server with which articles are exchanged."""

    pulls: bool
    """Whether articles are fetched from there (NEWNEWS); otherwise they are offered to it (streaming, IHAVE)."""
    host: str
    port: int = 119
    groups: str = "*"
    """Wildmat of the newsgroups."""
    tls: bool = False
    """TLS from the first octet."""
    user: str = ""
    password: str = ""
    identity: str = ""
    """The peer's name in Path fields, where that is not its host name: what has been there is not offered."""
    interval_seconds: float = 300.0
    """From one round to the next; a push feed also starts one when an article comes in."""

    @property
    def name(self) -> str:
        """As in `parse_newsfeed`."""
        return f"{'pull' if self.pulls else 'push'}:{self.host}:{self.port}/{self.groups}"

    @property
    def peer_identity(self) -> str:
        """The peer's name in Path fields."""
        return self.identity or self.host


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be chosen about one server. Ports: 0 is chosen by the kernel, None is not served."""

    build: str = DEFAULT_BUILD
    defects: frozenset[str] = frozenset()
    """Named defects that are switched on whatever the build says."""
    host: str = "127.0.0.1"
    smtp_port: int | None = 0
    pop3_port: int | None = 0
    imap_port: int | None = 0
    nntp_port: int | None = 0
    smtps_port: int | None = None
    pop3s_port: int | None = None
    imaps_port: int | None = None
    nntps_port: int | None = None
    lmtp_port: int | None = None
    lmtp_socket: Path | None = None
    http_port: int | None = None
    accounts: tuple[Account, ...] = ()
    bearer_tokens: tuple[tuple[str, str], ...] = ()
    """(user, token) for XOAUTH2 and OAUTHBEARER (RFC 7628)."""
    groups: tuple[str, ...] = ()
    """Newsgroups made at start."""
    gateways: tuple[str, ...] = ()
    """Gateways to other mail systems, as `emulator.gateways.logon` reads them: `notes.example=maildir:/var/notes`."""
    gateway_retry_seconds_min: float = 60.0
    """Pause before the second attempt at what a gateway did not take; it doubles with each."""
    gateway_retry_seconds_max: float = 3600.0
    gateway_expire_seconds: float = 48 * 3600.0
    """After this long a message that no gateway took is returned."""
    gateway_answer_seconds_max: float = 0.1
    """How long a connector may think about whether it takes an address; then it takes none until it has answered."""
    newsfeeds: tuple[Newsfeed, ...] = ()
    """Other news servers with which articles are exchanged."""
    newsfeed_tls_ca: Path | None = None
    """Authorities (PEM) that certificates of newsfeeds with TLS are checked against; None: those of the system."""
    newsfeed_seconds_max: float = 60.0
    """How long another news server may take for one reply."""
    newsfeed_retry_seconds_min: float = 10.0
    """Pause after a round that failed; it doubles with each."""
    newsfeed_retry_seconds_max: float = 900.0
    article_expire_seconds: float = 0.0
    """Articles are removed when they are so old, or when their Expires field says so; 0: none is, whatever it says."""
    article_expire_interval_seconds: float = 3600.0
    """From one expiry to the next."""
    load: tuple[Path, ...] = ()
    """Folders of .eml files put into mailboxes at start."""
    data: Path | None = None
    """Where the durable store and the spool live; None: memory, nothing survives."""
    transcripts: Path | None = None
    """Folder into which every session is written as a file of its dialogue, secrets masked; None: nowhere."""
    transcript_bytes_max: int = 1 << 20
    """Of one session; what is left out is said in the file."""
    transcripts_max: int = 10_000
    """Files in the folder; the oldest are removed."""
    strict_users: bool = False
    """Whether only configured accounts exist: no mailbox is made on delivery or at login."""
    domains: tuple[str, ...] = ()
    """Domains that are ours; empty: all of them."""
    proxy_protocol: bool = False
    """Whether connections begin with a PROXY header (v1 or v2), before any TLS."""
    proxy_protocol_servers: tuple[str, ...] = ()
    """Those of which that holds, by their ports: `smtp`, `smtps`, `lmtp` and so on; empty: all."""
    handler: str = ""
    """`package.module:Class` of an aiosmtpd handler that takes SMTP's messages; empty: they are delivered."""
    handler_thread: bool = False
    """Whether its hook for messages runs in a thread with a loop of its own: for handlers that block, as Proxy does."""
    smarthost: str = ""
    """`HOST:PORT` that takes mail for other domains; empty: it is delivered locally, nothing leaves the machine."""
    default_folders: tuple[tuple[str, str], ...] = (
        ("Drafts", "\\Drafts"),
        ("Sent", "\\Sent"),
        ("Trash", "\\Trash"),
        ("Junk", "\\Junk"),
    )
    """Folders of a new mailbox beside INBOX, with their special use (RFC 6154)."""
    front_end: FrontEndSettings = field(default_factory=FrontEndSettings)
    preemption: Preemption = field(default_factory=Preemption)

    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_directory: Path | None = None
    """Where the certificate authority is kept from one start to the next; None: in memory."""
    tls: bool = True
    """Whether STARTTLS is offered; without files a certificate authority of our own makes a certificate."""
    tls_version_min: str = "1.2"
    """The oldest version of TLS that is spoken: 1.0 for clients of the time (c-client's STARTTLS), 1.1, 1.2 or 1.3."""

    inbound_threads: int = 4
    """Workers that convert what is in `In` (the Internet Mail Service's inbound threads)."""
    inbound_queue_messages_max: int = 10_000
    """Messages in `In`; above it SMTP answers 452."""
    inbound_queue_bytes_max: int = 1 << 30
    spool_after_seconds: float = 0.25
    """With `data`: a message that is not in its mailbox so soon is written to `In` and acknowledged; 0: at once."""
    outbound_threads: int = 4
    """Connections to the smart host at the same time."""
    outbound_queue_messages_max: int = 10_000
    """Messages in `Out`; above it SMTP answers 452."""
    outbound_seconds_max: float = 60.0
    """How long the smart host may take for one reply."""
    outbound_retry_seconds_min: float = 60.0
    """Pause before the second attempt; it doubles with each."""
    outbound_retry_seconds_max: float = 3600.0
    outbound_delay_warning_seconds: float = 4 * 3600.0
    """After this long the sender is told of the delay, if it asked for that."""
    outbound_expire_seconds: float = 48 * 3600.0
    """After this long a message that could not be handed over is returned."""
    conversion_attempts_max: int = 3
    """A message whose conversion fails this often goes to BAD."""
    outbound_cache_bytes_max: int = 256 << 20
    """Converted messages kept for repeated reads."""
    content_cache_bytes_max: int = 64 << 20
    """Messages of a durable store held in memory beside the disk."""
    derived_cache_messages_max: int = 200_000
    """Messages for which computed values (ENVELOPE and the like) are kept."""
    store_thread_seconds_max: float = 30.0
    """How long the Internet Mail Service waits for a thread of the information store, where there are so many only."""
    logons_max: int = 100_000
    """Sessions that are logged on at the same time."""
    mailbox_bytes_max: int = 0
    """Quota of a mailbox; 0: none."""
    mailboxes_max: int = 100_000
    folders_per_mailbox_max: int = 10_000
    messages_per_folder_max: int = 10_000_000
    vanished_remembered_max: int = 100_000
    """Expunged UIDs remembered for each folder (QRESYNC)."""
    connections_max: int = 20_000
    """Open connections of all protocols together."""
    connections_per_address_max: int = 20_000
    """Open connections from one address. (Loopback tests open many; lower it when listening beyond loopback.)"""
    login_failures_per_address_max: int = 100
    """Failed logins from one address, loopback apart, in `login_failures_seconds`; then it is not let in any more."""
    login_failures_seconds: float = 600.0
    receive_buffer_bytes_max: int = 1 << 20
    """Octets received and not yet consumed before reading from the peer pauses."""
    send_buffer_bytes_max: int = 1 << 20
    """Octets written and not yet taken by the peer before the session waits."""
    tls_handshake_seconds_max: float = 30.0
    http_request_seconds_max: float = 30.0
    """How long a peer of the HTTP side may take for the head of a request."""
    stop_seconds_max: float = 10.0
    """After this long in `stop pending` a stop is reported as hung (it goes on waiting)."""

    def find_build(self) -> Build:
        """The build and its defects. Raises UnknownBuild."""
        return find_build(self.build, with_defects=self.defects)


def default_hostname() -> str:
    """A name fit for greetings and trace fields: this host's, reduced to what RFC 5321 calls a domain."""
    name = socket.gethostname().strip(".")
    return name if name and name.isascii() and all(c.isalnum() or c in ".-" for c in name) else "localhost"


def parse_account(text: str) -> Account:
    """`NAME:PASSWORD`. Raises SettingsError."""
    name, colon, password = text.partition(":")
    if not colon or not name or not password:
        raise SettingsError(f"--user {text!r}: write NAME:PASSWORD, as in --user alice:secret")
    if any(ord(character) < 32 for character in text):
        raise SettingsError("--user: control characters are not allowed in names and passwords")
    return Account(name, password)


_NEWSFEED = re.compile(
    r"(?P<way>push|pull)(?P<tls>\+tls)?:(?:(?P<user>[^:@\s]+):(?P<password>\S*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/@\[\]\s]+)(?::(?P<port>[0-9]{1,5}))?(?:/(?P<groups>\S+))?"
)


def parse_newsfeed(text: str) -> Newsfeed:
    """`push[+tls]:[USER:PASSWORD@]HOST[:PORT][/WILDMAT]` or `pull…`. Raises SettingsError.

    IPv6 addresses stand in brackets; the port is 119, with TLS 563.
    """
    found = _NEWSFEED.fullmatch(text)
    shown = re.sub(r":[^:@]*@", ":***@", text)
    port = 119 if found is None or not found["tls"] else 563
    if found is None or not 0 < (port := int(found["port"] or port)) < 65536:
        raise SettingsError(
            f"--newsfeed {shown!r}: write push:HOST:PORT/GROUPS or pull:HOST:PORT/GROUPS,"
            " or as in pull+tls:USER:PASSWORD@HOST:563/GROUPS"
        )
    groups = found["groups"] or "*"
    try:
        Wildmat(groups)
    except WildmatError as error:
        raise SettingsError(f"--newsfeed {shown!r}: {groups!r} is no wildmat: {error}") from None
    return Newsfeed(
        found["way"] == "pull",
        found["host"].strip("[]"),
        port,
        groups,
        tls=found["tls"] is not None,
        user=found["user"] or "",
        password=found["password"] or "",
    )


def parse_bearer_token(text: str) -> tuple[str, str]:
    """`USER:TOKEN`. Raises SettingsError."""
    user, colon, token = text.partition(":")
    if not colon or not user or not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token):
        raise SettingsError("--bearer-token: write USER:TOKEN, the token as RFC 6750 section 2.1 has it")
    return user, token


def parse_moderator(text: str) -> tuple[str, str]:
    """`GROUPS=ADDRESS`: a wildmat, and an address in which `%s` is the group, dots as hyphens. Raises SettingsError."""
    groups, _, address = text.partition("=")
    try:
        Wildmat(groups)
    except WildmatError as error:
        raise SettingsError(f"--moderator {text!r}: {groups!r} is no wildmat: {error}") from None
    if "@" not in address or any(character.isspace() for character in address):
        raise SettingsError(f"--moderator {text!r}: write GROUPS=ADDRESS, as in --moderator 'mod.*=%s@example.com'")
    return groups, address


def limits_with(settings: Settings, **changes: Any) -> Settings:
    """The same settings with some limits of the front-ends changed."""
    front_end = settings.front_end
    return replace(settings, front_end=replace(front_end, limits=replace(front_end.limits, **changes)))


def front_end_with(settings: Settings, **changes: Any) -> Settings:
    """The same settings with some of the front-ends' own changed."""
    return replace(settings, front_end=replace(settings.front_end, **changes))


def environment_defaults(names: Mapping[str, str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Values of `MAILJAM_*` variables for the given flags: {destination: flag} → {destination: text}."""
    environment = os.environ if environment is None else environment
    found = {}
    for destination in names:
        value = environment.get(f"MAILJAM_{destination.upper()}")
        if value is not None:
            found[destination] = value
    return found


LIMIT_NAMES: frozenset[str] = frozenset(item.name for item in fields(Limits))
