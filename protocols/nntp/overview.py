"""OVER, XOVER, HDR, XHDR, XPAT: the overview database (RFC 3977 section 8, RFC 2980 sections 2.6, 2.8 and 2.9).

What does not depend on where an article stands is computed once for each content and kept with it; the number and the
Xref field, which do, are added at each reading.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from protocols.ports import NoSuchMessage
from protocols.registry import SyntaxProblem
from protocols.reply import DOT_END, Reply, line_block

from .reading import NO_CURRENT, NO_GROUP, NO_SUCH_ID, NO_SUCH_NUMBER, header_end
from .session import LINES_PER_STEP, NO_MESSAGE_ID, READER, NntpSession, commands
from .syntax import Range, header_name, pattern_argument, range_or_message_id, text, words

if TYPE_CHECKING:
    from protocols.mime.structure import Part

OVERVIEW_KEY = "nntp.overview"
OVERVIEW_FIELDS = (b"subject", b"from", b"date", b"message-id", b"references")
"""The fields that stand before :bytes and :lines (RFC 3977 section 8.3.2)."""

_NO_BREAKS = bytes.maketrans(b"\0\t\r\n", b"    ")
XREF_OVERHEAD_OCTETS = len(b"Xref: \r\n")

Overview = tuple[bytes, int, bytes]
"""`subject … references` between tabs, octets of the stored article, its lines."""


def one_field(value: bytes) -> bytes:
    """An unfolded value fit for a line of the overview (RFC 3977 section 8.3.2): NUL, TAB, CR, LF become spaces."""
    return value.translate(_NO_BREAKS)


def overview_of(octets: bytes, part: Part) -> Overview:
    """What OVER shows of an article wherever it stands."""
    header = part.headers
    values = [one_field(header.get(name) or b"") for name in OVERVIEW_FIELDS]
    values[3] = values[3] or NO_MESSAGE_ID
    lines = octets.count(b"\n", header_end(octets) + 2)
    return b"\t".join(values), len(octets), b"%d" % lines


async def _overview(session: NntpSession, message: Any) -> Overview:
    found: Overview | None = message.content.derived.get(OVERVIEW_KEY)
    if found is None:
        found = await session.services.conversion.derive(message, OVERVIEW_KEY, overview_of)
    return found


def overview_line(session: NntpSession, number: int, message: Any, overview: Overview) -> bytes:
    """One line of OVER; :bytes counts the article as ARTICLE shows it, with its Xref field."""
    fields, size, lines = overview
    xref = session.xref(message)
    return b"%d\t%b\t%d\t%b\tXref: %b\r\n" % (number, fields, size + len(xref) + XREF_OVERHEAD_OCTETS, lines, xref)


def chosen(session: NntpSession, which: bytes | Range | None, empty: bytes) -> list[tuple[int, Any]] | bytes:
    """The articles that a Message-ID, a range or nothing names, with the numbers to show; or the refusal."""
    if isinstance(which, bytes):
        copies = session.services.store.find_message_id(which)
        return [(0, copies[0])] if copies else NO_SUCH_ID
    if session.group is None:
        return NO_GROUP
    if which is None:
        if session.current is None:
            return NO_CURRENT
        message = session.group.by_uid(session.current)
        return [(session.current, message)] if message is not None else NO_CURRENT
    found = [(message.uid, message) for message in session.group.slice_by_uid(which.low, which.high)]
    return found or empty


async def _send_overview(session: NntpSession, articles: Sequence[tuple[int, Any]]) -> Reply:
    session.send(b"224 overview information follows\r\n")
    lines: list[bytes] = []
    for number, message in articles:
        try:
            lines.append(overview_line(session, number, message, await _overview(session, message)))
        except NoSuchMessage:
            continue  # expunged since the range was looked up
        if len(lines) >= LINES_PER_STEP:
            session.send(b"".join(lines))
            lines.clear()
            await session.flush_when_large()
    session.send(b"".join(lines))
    return DOT_END


@commands.command("OVER", states=(READER,), syntax=words(0, 1), usage="OVER [range|message-id]", capability="OVER")
async def over(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 3977 section 8.3, with MSGID."""
    which = range_or_message_id(arguments[0]) if arguments else None
    articles = chosen(session, which, NO_SUCH_NUMBER)
    return articles if isinstance(articles, bytes) else await _send_overview(session, articles)


@commands.command("XOVER", states=(READER,), syntax=words(0, 1), usage="XOVER [range]", capability="OVER")
async def xover(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 2980 section 2.8: as OVER, but an empty range is answered with 420."""
    which = range_or_message_id(arguments[0]) if arguments else None
    if isinstance(which, bytes):
        raise SyntaxProblem("a range of article numbers is expected")
    articles = chosen(session, which, b"420 no articles in that range\r\n")
    return articles if isinstance(articles, bytes) else await _send_overview(session, articles)


async def header_value(session: NntpSession, message: Any, name: bytes) -> bytes | None:
    """The unfolded value of a header field, or of the metadata :bytes or :lines; None where there is no such field."""
    if name == b"xref":
        return session.xref(message)
    if name in _IN_OVERVIEW or name in OVERVIEW_FIELDS:
        fields, size, lines = await _overview(session, message)
        if name in OVERVIEW_FIELDS:
            return fields.split(b"\t")[OVERVIEW_FIELDS.index(name)] or None
        if name == b":bytes":
            return b"%d" % (size + len(session.xref(message)) + XREF_OVERHEAD_OCTETS)
        return lines
    _, part = await session.services.conversion.structure(message)
    value = part.headers.get(name)
    return None if value is None else one_field(value)


_IN_OVERVIEW = (b":bytes", b":lines")


async def _values(
    session: NntpSession, articles: Sequence[tuple[int, Any]], name: bytes
) -> AsyncIterator[tuple[int, bytes | None]]:
    for number, message in articles:
        try:
            value = await header_value(session, message, name)
        except NoSuchMessage:
            continue
        yield number, value


def _checked_name(word: bytes) -> bytes:
    name = header_name(word)
    if name.startswith(b":") and name not in _IN_OVERVIEW:
        raise SyntaxProblem("the metadata that are kept are :bytes and :lines")
    return name


async def _send_values(
    session: NntpSession, first: bytes, articles: Sequence[tuple[int, Any]], name: bytes, absent: bytes
) -> Reply:
    session.send(first)
    lines: list[bytes] = []
    async for number, value in _values(session, articles, name):
        lines.append(b"%d %b\r\n" % (number, absent if value is None else value))
        if len(lines) >= LINES_PER_STEP:
            session.send(b"".join(lines))
            lines.clear()
            await session.flush_when_large()
    session.send(b"".join(lines))
    return DOT_END


@commands.command("HDR", states=(READER,), syntax=words(1, 2), usage="HDR field [range|message-id]", capability="HDR")
async def hdr(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 3977 section 8.5. A field that an article lacks has an empty value."""
    name = _checked_name(arguments[0])
    which = range_or_message_id(arguments[1]) if len(arguments) == 2 else None
    articles = chosen(session, which, NO_SUCH_NUMBER)
    if isinstance(articles, bytes):
        return articles
    return await _send_values(session, b"225 headers follow\r\n", articles, name, b"")


_XHDR_NAMES = {b"bytes": b":bytes", b"lines": b":lines"}


@commands.command("XHDR", states=(READER,), syntax=words(1, 2), usage="XHDR field [range|message-id]", capability="HDR")
async def xhdr(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 2980 section 2.6: an absent field reads `(none)`, a Message-ID is shown where HDR shows 0."""
    name = header_name(arguments[0])
    name = _checked_name(_XHDR_NAMES.get(name, name))
    which = range_or_message_id(arguments[1]) if len(arguments) == 2 else None
    articles = chosen(session, which, b"420 no articles in that range\r\n")
    if isinstance(articles, bytes):
        return articles
    first = b"221 " + arguments[0] + b" follows\r\n"
    if isinstance(which, bytes):
        value = await header_value(session, articles[0][1], name)
        return line_block(first[:-2], [which + b" " + (b"(none)" if value is None else value)])
    return await _send_values(session, first, articles, name, b"(none)")


@commands.command(
    "XPAT", states=(READER,), syntax=words(3, 200), usage="XPAT field range|message-id pattern", capability="XPAT"
)
async def xpat(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 2980 section 2.9: the values that match; words behind the range are one pattern with spaces in it."""
    name = header_name(arguments[0])
    name = _checked_name(_XHDR_NAMES.get(name, name))
    which = range_or_message_id(arguments[1])
    wanted = pattern_argument(b" ".join(arguments[2:]))
    articles = chosen(session, which, b"")
    if isinstance(articles, bytes) and articles:
        return articles
    session.send(b"221 " + arguments[0] + b" matches follow\r\n")
    async for number, value in _values(session, [] if isinstance(articles, bytes) else articles, name):
        if value is not None and wanted.matches(text(value)):
            shown = which if isinstance(which, bytes) else b"%d" % number
            session.send(shown + b" " + value + b"\r\n")
            await session.flush_when_large()
    return DOT_END
