"""METADATA (RFC 5464) and LIST-METADATA: annotations of mailboxes and of the server, private or shared."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.reply import Reply

from . import access
from .errors import Bad, No
from .names import quote
from .scanner import Scanner
from .states import AUTHENTICATED, COMMANDS

if TYPE_CHECKING:
    from .session import ImapSession

VALUE_OCTETS_MAX = 65536
ENTRIES_MAX = 200
"""Entries of one scope (a mailbox, or a user's or the server's)."""
ENTRY_OCTETS_MAX = 512
KEY = "metadata"


# --- how it is kept ---------------------------------------------------------------------------------------------------


def _scopes(session: ImapSession, folder: Any) -> dict[str, str]:
    """Where `/private` and `/shared` entries are kept: private ones belong to the user."""
    if folder is None:
        return {"/private": f"mailbox:{session.user}", "/shared": "server"}
    return {"/private": f"folder:{folder.folder_id}", "/shared": f"folder:{folder.folder_id}"}


def _key(session: ImapSession, folder: Any, root: str) -> str:
    return f"{KEY}:{session.user}" if root == "/private" and folder is not None else KEY


def read(session: ImapSession, folder: Any, root: str) -> dict[str, bytes]:
    """All entries below `/private` or `/shared`."""
    kept = session.services.store.annotations.get((_scopes(session, folder)[root], _key(session, folder, root)))
    return {name: base64.b64decode(value) for name, value in json.loads(kept).items()} if kept else {}


async def write(session: ImapSession, folder: Any, root: str, entries: dict[str, bytes]) -> None:
    """Keep all entries below `/private` or `/shared`."""
    value = json.dumps({name: base64.b64encode(octets).decode() for name, octets in sorted(entries.items())}).encode()
    scope = _scopes(session, folder)[root]
    await session.services.store.annotate(scope, _key(session, folder, root), value if entries else None)


def entry_name(octets: bytes) -> str:
    """An entry name, lower case. Raises Bad."""
    try:
        name = octets.decode("ascii").lower()
    except UnicodeDecodeError:
        raise Bad("an entry name is ASCII") from None
    if len(name) > ENTRY_OCTETS_MAX or not name.startswith(("/private/", "/shared/")):
        raise Bad("an entry name begins with /private/ or /shared/")
    if name.endswith("/") or "//" in name or any(c in "*%" or ord(c) < 32 for c in name):
        raise Bad("that is no entry name")
    return name


def root_of(name: str) -> str:
    """`/private` or `/shared`."""
    return "/private" if name.startswith("/private/") else "/shared"


def find(session: ImapSession, folder: Any, name: str, depth: int) -> dict[str, bytes]:
    """The entry and, as far as `depth` (-1: all) reaches, those below it."""
    entries = read(session, folder, root_of(name))
    found = {}
    for known, value in entries.items():
        if known == name:
            found[known] = value
        elif depth and known.startswith(name + "/"):
            levels = known[len(name) :].count("/")
            if depth < 0 or levels <= depth:
                found[known] = value
    return found


def metadata_value(octets: bytes) -> bytes:
    """A value as it is sent."""
    if b"\0" in octets:
        return b"~{%d}\r\n%b" % (len(octets), octets)
    return quote(octets)


def list_metadata(session: ImapSession, name: str, folder: Any, names: tuple[str, ...]) -> bytes:
    """`* METADATA` of LIST RETURN (METADATA …) (RFC 9590)."""
    pairs = []
    for entry in names:
        value = read(session, folder, root_of(entry)).get(entry)
        pairs.append(
            quote(entry.encode("ascii", "replace")) + b" " + (b"NIL" if value is None else metadata_value(value))
        )
    return b"* METADATA %b (%b)\r\n" % (session.name_octets(name), b" ".join(pairs))


# --- GETMETADATA ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Getting:
    """The arguments of GETMETADATA."""

    name: bytes
    entries: tuple[str, ...]
    depth: int = 0
    value_octets_max: int | None = None


def get_syntax(scanner: Scanner) -> Getting:
    """`[(options)] mailbox entry|(entries)`; some clients put the options behind the mailbox."""
    scanner.space()
    depth, most = _get_options(scanner) if scanner.peek() == 0x28 else (0, None)
    name = scanner.astring()
    scanner.space()
    if scanner.peek() == 0x28 and scanner.looks_like(b"(DEPTH", b"(MAXSIZE"):
        depth, most = _get_options(scanner)
    entries = []
    if scanner.try_take(b"("):
        while True:
            entries.append(entry_name(scanner.astring()))
            if scanner.try_take(b")"):
                break
            scanner.space()
    else:
        entries.append(entry_name(scanner.astring()))
    scanner.end()
    return Getting(name, tuple(entries), depth, most)


def _get_options(scanner: Scanner) -> tuple[int, int | None]:
    scanner.take(b"(")
    depth, most = 0, None
    while True:
        word = scanner.word()
        scanner.space()
        if word == b"MAXSIZE":
            most = scanner.number()
        elif word == b"DEPTH":
            value = scanner.word()
            if value not in (b"0", b"1", b"INFINITY"):
                raise Bad("DEPTH is 0, 1 or infinity")
            depth = -1 if value == b"INFINITY" else int(value)
        else:
            raise Bad("unknown option")
        if scanner.try_take(b")"):
            break
        scanner.space()
    scanner.space()
    return depth, most


@COMMANDS.command("GETMETADATA", states=AUTHENTICATED, syntax=get_syntax, capability="METADATA")
async def getmetadata(session: ImapSession, getting: Getting) -> Reply:
    """RFC 5464 section 4.2."""
    folder = _place(session, getting.name, "lr")
    longest = 0
    found: dict[str, bytes] = {}
    for name in getting.entries:
        for known, value in find(session, folder, name, getting.depth).items():
            if getting.value_octets_max is not None and len(value) > getting.value_octets_max:
                longest = max(longest, len(value))
            else:
                found[known] = value
    if found:
        pairs = [name.encode() + b" " + metadata_value(value) for name, value in sorted(found.items())]
        where = session.name_octets(session.folder_name(folder)) if folder is not None else b'""'
        session.send(b"* METADATA %b (%b)\r\n" % (where, b" ".join(pairs)))
    return session.ok(b"GETMETADATA completed", b"METADATA LONGENTRIES %d" % longest if longest else b"")


def _place(session: ImapSession, octets: bytes, need: str) -> Any:
    """The mailbox of a METADATA command; None is the server."""
    if not octets:
        return None
    folder = session.find(session.name_text(octets))
    access.require(session, folder, need)
    return folder


# --- SETMETADATA ------------------------------------------------------------------------------------------------------


def set_syntax(scanner: Scanner) -> tuple[bytes, tuple[tuple[str, bytes | None], ...]]:
    """A mailbox and (entry value …)."""
    scanner.space()
    name = scanner.astring()
    scanner.space()
    scanner.take(b"(")
    pairs = []
    while True:
        entry = entry_name(scanner.astring())
        scanner.space()
        pairs.append((entry, scanner.literal8_or_nstring()))
        if scanner.try_take(b")"):
            break
        scanner.space()
    scanner.end()
    return name, tuple(pairs)


@COMMANDS.command("SETMETADATA", states=AUTHENTICATED, syntax=set_syntax, capability="METADATA")
async def setmetadata(session: ImapSession, arguments: tuple[bytes, tuple[tuple[str, bytes | None], ...]]) -> Reply:
    """RFC 5464 section 4.3: all entries or none."""
    folder = _place(session, arguments[0], "l")
    changed: dict[str, dict[str, bytes]] = {}
    for name, value in arguments[1]:
        root = root_of(name)
        if root == "/shared":
            if folder is None:
                raise No("shared entries of the server are not set from here", code=b"NOPERM")
            access.require(session, folder, "w")
        if value is not None and len(value) > VALUE_OCTETS_MAX:
            raise No("the value is too large", code=b"METADATA MAXSIZE %d" % VALUE_OCTETS_MAX)
        entries = changed.setdefault(root, read(session, folder, root))
        if value is None:
            entries.pop(name, None)
        else:
            entries[name] = value
        if len(entries) > ENTRIES_MAX:
            raise No("there are too many entries", code=b"METADATA TOOMANY")
    for root, entries in changed.items():
        await write(session, folder, root, entries)
    session.metadata_changed(folder, [name for name, _ in arguments[1]])
    return session.ok(b"SETMETADATA completed")
