"""METADATA (RFC 5464) and LIST-METADATA: annotations of mailboxes and of the server, private or shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.ports import PortError
from protocols.reply import Reply

from . import access
from .annotations import SPECIAL_USE_ENTRY, entry_name, find, metadata_value, read_kept, root_of, write
from .errors import Bad, No
from .hub import metadata_changed
from .mailboxes import special_use
from .scanner import Scanner
from .states import AUTHENTICATED, COMMANDS

if TYPE_CHECKING:
    from .session import ImapSession

VALUE_OCTETS_MAX = 65536
ENTRIES_MAX = 200
"""Entries of one scope (a mailbox, or a user's or the server's)."""


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
            entries.append(entry_name(scanner.astring(), roots=True))
            if scanner.try_take(b")"):
                break
            scanner.space()
    else:
        entries.append(entry_name(scanner.astring(), roots=True))
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
    use: bytes | None = b"-"
    for name, value in arguments[1]:
        if name == SPECIAL_USE_ENTRY and folder is not None and folder.owner is session.mailbox:
            use = value
            continue
        root = root_of(name)
        if root == "/shared":
            if folder is None:
                raise No("shared entries of the server are not set from here", code=b"NOPERM")
            access.require(session, folder, "w")
        if value is not None and len(value) > VALUE_OCTETS_MAX:
            raise No("the value is too large", code=b"METADATA MAXSIZE %d" % VALUE_OCTETS_MAX)
        entries = changed.setdefault(root, read_kept(session, folder, root))
        if value is None:
            entries.pop(name, None)
        else:
            entries[name] = value
        if len(entries) > ENTRIES_MAX:
            raise No("there are too many entries", code=b"METADATA TOOMANY")
    if use != b"-":
        await _set_use(session, folder, use)
    for root, entries in changed.items():
        await write(session, folder, root, entries)
    if folder is not None and "QRESYNC" not in session.settings.capabilities_hidden:
        await session.services.store.advance_modseq(folder)  # RFC 7162 section 3.2
    metadata_changed(session, folder, [name for name, _ in arguments[1]])
    return session.ok(b"SETMETADATA completed")


async def _set_use(session: ImapSession, folder: Any, value: bytes | None) -> None:
    """Change what a mailbox is used for. Raises No [USEATTR]."""
    text = (value or b"").decode("ascii", "replace").strip()
    use = special_use(session.mailbox, (text,), folder) if text else ""
    before, folder.special_use = folder.special_use, use
    try:
        await session.services.store.save_folder(folder)
    except PortError:
        folder.special_use = before
        raise
