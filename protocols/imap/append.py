"""APPEND with MULTIAPPEND (RFC 3502), CATENATE (RFC 4469), literal8 (RFC 3516), UTF8 (RFC 6855); REPLACE (RFC 8508)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from protocols.ports import PortError, Target
from protocols.reply import Reply

from . import access
from .dates import parse_date_time
from .errors import Bad, No
from .flags import KEYWORDS_MAX, RECENT, match_keyword, parse_flags
from .messages import chosen, needed_right, selected, target_folder
from .scanner import Scanner
from .sequence import Ranges, format_set
from .states import AUTHENTICATED, COMMANDS, SELECTED
from .urls import fetch_url

if TYPE_CHECKING:
    from .session import ImapSession


@dataclass(frozen=True, slots=True)
class Url:
    """A part of a CATENATE that is to be read from here."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Appended:
    """One message of an APPEND."""

    flags: frozenset[str] = frozenset()
    date: tuple[float, int] | None = None
    parts: tuple[bytes | Url, ...] = ()
    binary: bool = False
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Appending:
    """The arguments of APPEND and REPLACE."""

    name: bytes
    messages: tuple[Appended, ...]
    replaced: Ranges | None = field(default=None)


def append_syntax(scanner: Scanner) -> Appending:
    """A mailbox and one or more messages, each with flags and a date."""
    scanner.space()
    name = scanner.astring()
    scanner.space()
    messages = [_message(scanner)]
    while scanner.try_space():
        messages.append(_message(scanner))
    scanner.end()
    return Appending(name, tuple(messages))


def replace_syntax(scanner: Scanner) -> Appending:
    """What is replaced, a mailbox and one message."""
    scanner.space()
    ranges = scanner.sequence()
    scanner.space()
    name = scanner.astring()
    scanner.space()
    message = _message(scanner)
    scanner.end()
    if ranges is None or len(ranges) != 1 or ranges[0][0] != ranges[0][1]:
        raise Bad("one message is replaced")
    return Appending(name, (message,), ranges)


def _message(scanner: Scanner) -> Appended:
    flags: frozenset[str] = frozenset()
    date = None
    if scanner.peek() == 0x28:
        given = scanner.flag_list()
        if len(given) > KEYWORDS_MAX:
            raise Bad("there are too many flags")
        # some clients give back \Recent, which they were told and cannot set: it is passed over
        flags = frozenset(parse_flags(flag for flag in given if flag.lower() != RECENT.lower()))
        scanner.space()
    if scanner.peek() == 0x22:
        date = parse_date_time(scanner.string())
        scanner.space()
    if scanner.try_word(b"CATENATE"):
        scanner.space()
        parts, utf8 = _catenate(scanner)
        return Appended(flags, date, parts, utf8=utf8)
    if scanner.try_word(b"UTF8"):
        scanner.space()
        return Appended(flags, date, (_utf8_literal(scanner),), utf8=True)
    octets, binary = scanner.literal()
    return Appended(flags, date, (octets,), binary)


def _utf8_literal(scanner: Scanner) -> bytes:
    scanner.take(b"(")
    octets, _ = scanner.literal()
    scanner.take(b")")
    return octets


def _catenate(scanner: Scanner) -> tuple[tuple[bytes | Url, ...], bool]:
    """The parts, and whether one of them is marked as UTF8."""
    scanner.take(b"(")
    parts: list[bytes | Url] = []
    utf8 = False
    while True:
        kind = scanner.word()
        scanner.space()
        if kind == b"TEXT":
            parts.append(scanner.literal()[0])
        elif kind == b"UTF8":  # RFC 6855 section 4
            parts.append(_utf8_literal(scanner))
            utf8 = True
        elif kind == b"URL":
            parts.append(Url(scanner.astring()))
        else:
            raise Bad("TEXT or URL is missing")
        if scanner.try_take(b")"):
            return tuple(parts), utf8
        scanner.space()


async def _octets_of(session: ImapSession, message: Appended) -> bytes:
    """The message. `quirk_8bit_header`: one with 8-bit header fields is taken from every client, although RFC 6855
    section 4 wants UTF8=ACCEPT enabled: old mail has such fields, and clients that copy mailboxes know nothing of it.
    """
    if message.utf8 and not session.utf8:
        raise Bad("UTF8=ACCEPT was not enabled")
    pieces = []
    total = 0
    for part in message.parts:
        octets = await fetch_url(session, part.text) if isinstance(part, Url) else part
        total += len(octets)
        if total > session.limits.message_bytes_max:
            raise No(f"a message may have at most {session.limits.message_bytes_max} octets", code=b"TOOBIG")
        pieces.append(octets)
    if not total:
        raise No("an empty message is not kept", code=b"CANNOT")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _put(session: ImapSession, folder: Any, appending: Appending, frees_octets: int = 0) -> list[Any]:
    allowed = session.rights(folder)
    view = session.view
    known = frozenset(view.keywords) if view is not None and view.folder is folder else frozenset[str]()
    session.actor.doing = f"{session.verb.decode()} {session.folder_name(folder)}"
    items = []
    for message in appending.messages:
        octets = await _octets_of(session, message)
        flags = frozenset(match_keyword(flag, known) for flag in message.flags if needed_right(flag) in allowed)
        date, zone = message.date or (None, 0)
        items.append((octets, (Target(folder, flags, date, zone, frees_octets),)))
    put = [new for news in await session.services.conversion.put_all(items) for new in news]
    session.caused(folder, put)
    return put


def _appenduid(session: ImapSession, folder: Any, new: list[Any]) -> bytes:
    if "UIDPLUS" in session.settings.capabilities_hidden or "r" not in session.rights(folder):
        return b""
    return b"APPENDUID %d %s" % (folder.uid_validity, format_set([message.uid for message in new]))


@COMMANDS.command("APPEND", states=AUTHENTICATED, syntax=append_syntax)
async def append(session: ImapSession, appending: Appending) -> Reply:
    """RFC 9051 section 6.3.12: all messages or none."""
    if len(appending.messages) > 1 and "MULTIAPPEND" in session.settings.capabilities_hidden:
        raise Bad("one message can be appended")
    folder = target_folder(session, appending.name)
    new = await _put(session, folder, appending)
    return session.ok(b"APPEND completed", _appenduid(session, folder, new))


@COMMANDS.command("REPLACE", states=SELECTED, syntax=replace_syntax, capability="REPLACE")
async def replace(session: ImapSession, appending: Appending) -> Reply:
    """RFC 8508: append the new message, then expunge the old one."""
    view = selected(session)
    old = [message for _, message in chosen(session, appending.replaced)]
    if not old:
        raise No("there is no such message", code=b"NONEXISTENT")
    if old[0].expunged:
        raise No("the message has been expunged", code=b"EXPUNGEISSUED")
    if view.read_only:
        raise No("the mailbox is read-only", code=b"READ-ONLY")
    access.require(session, view.folder, "te")
    folder = target_folder(session, appending.name)
    # the quota sees the difference alone (RFC 8508 section 3.4)
    new = await _put(session, folder, appending, old[0].size if folder.owner is view.folder.owner else 0)
    try:
        await session.services.store.expunge(view.folder, old)
    except PortError:
        await session.services.store.expunge(folder, new)
        raise
    code = _appenduid(session, folder, new)
    if code:
        session.send(b"* OK [%s] Replacement message ready\r\n" % code)
    return session.ok(session.verb + b" completed")


COMMANDS.command("UID REPLACE", states=SELECTED, syntax=replace_syntax, capability="REPLACE")(replace)
