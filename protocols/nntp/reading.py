"""GROUP, LISTGROUP, LAST, NEXT, ARTICLE, HEAD, BODY, STAT (RFC 3977 sections 6.1 and 6.2)."""

from __future__ import annotations

from typing import Any

from protocols.ports import NoSuchMessage
from protocols.registry import SyntaxProblem
from protocols.reply import DOT_END, Reply, stuff

from .session import LINES_PER_STEP, NO_MESSAGE_ID, READER, NntpSession, commands
from .syntax import Range, article, number_range, text, words

NO_GROUP = b"412 no newsgroup selected\r\n"
NO_SUCH_GROUP = b"411 no such newsgroup\r\n"
NO_CURRENT = b"420 the current article number is invalid\r\n"
NO_SUCH_NUMBER = b"423 no article with that number\r\n"
NO_SUCH_ID = b"430 no article with that message-id\r\n"


@commands.command("GROUP", states=(READER,), syntax=words(1, 1), usage="GROUP group")
async def group(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 3977 section 6.1.1."""
    found = session.services.store.newsgroups.get(text(arguments[0]))
    if found is None:
        return NO_SUCH_GROUP
    count, low, high = session.select(found)
    return f"211 {count} {low} {high} {found.name}\r\n".encode()


@commands.command("LISTGROUP", states=(READER,), syntax=words(0, 2), usage="LISTGROUP [group [range]]")
async def listgroup(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 3977 section 6.1.2."""
    wanted = number_range(arguments[1]) if len(arguments) == 2 else Range(1, 1 << 31)
    found = session.services.store.newsgroups.get(text(arguments[0])) if arguments else session.group
    if found is None:
        return NO_SUCH_GROUP if arguments else NO_GROUP
    count, low, high = session.select(found)
    session.send(f"211 {count} {low} {high} {found.name} list follows\r\n".encode())
    messages = found.slice_by_uid(wanted.low, wanted.high)
    for start in range(0, len(messages), LINES_PER_STEP):
        session.send("".join([f"{m.uid}\r\n" for m in messages[start : start + LINES_PER_STEP]]).encode())
        await session.flush_when_large()
    return DOT_END


def _move(session: NntpSession, step: int, none: bytes) -> Reply:
    if session.group is None:
        return NO_GROUP
    if session.current is None:
        return NO_CURRENT
    found = session.neighbour(step)
    if found is None:
        return none
    session.current = found.uid
    return b"223 %d %b article selected\r\n" % (found.uid, found.content.message_id or NO_MESSAGE_ID)


@commands.command("NEXT", states=(READER,))
async def next_(session: NntpSession, _: None) -> Reply:
    """RFC 3977 section 6.1.4."""
    return _move(session, 1, b"421 no next article in this newsgroup\r\n")


@commands.command("LAST", states=(READER,))
async def last(session: NntpSession, _: None) -> Reply:
    """RFC 3977 section 6.1.3."""
    return _move(session, -1, b"422 no previous article in this newsgroup\r\n")


def find(session: NntpSession, which: bytes | int | None) -> tuple[int, Any] | bytes:
    """The article that a Message-ID, a number or nothing names, with the number to show; or the refusal.

    A number becomes the current article number, a Message-ID does not (RFC 3977 section 6.2.1.2).
    """
    if isinstance(which, bytes):
        copies = session.services.store.find_message_id(which)
        if not copies:
            return NO_SUCH_ID
        return 0, next((copy for copy in copies if copy.folder is session.group), copies[0])
    if session.group is None:
        return NO_GROUP
    number = session.current if which is None else which
    if number is None:
        return NO_CURRENT
    message = session.group.by_uid(number)
    if message is None:
        return NO_CURRENT if which is None else NO_SUCH_NUMBER
    session.current = number
    return number, message


async def _retrieve(session: NntpSession, which: bytes | int | None, verb: str) -> tuple[bytes, bytes, Any] | bytes:
    """`number message-id`, the octets and the article; or the refusal."""
    found = find(session, which)
    if isinstance(found, bytes):
        return found
    number, message = found
    session.actor.doing = f"{verb} {text(which) if isinstance(which, bytes) else number}"
    try:
        octets = await session.services.conversion.octets(message)
    except NoSuchMessage:
        return NO_SUCH_ID if isinstance(which, bytes) else NO_SUCH_NUMBER
    return b"%d %b" % (number, message.content.message_id or NO_MESSAGE_ID), octets, message


def header_end(octets: bytes) -> int:
    """Where the header ends, behind its last CRLF; all of a text without an empty line."""
    if octets.startswith(b"\r\n"):
        return 0
    end = octets.find(b"\r\n\r\n")
    return len(octets) if end < 0 else end + 2


def _xref_line(session: NntpSession, message: Any) -> bytes:
    return b"Xref: " + session.xref(message) + b"\r\n"


@commands.command("ARTICLE", states=(READER,), syntax=article, usage="ARTICLE [message-id|number]")
async def article_(session: NntpSession, which: bytes | int | None) -> Reply:
    """RFC 3977 section 6.2.1. The octets go to the transport as they are, behind the Xref field of this server."""
    found = await _retrieve(session, which, "ARTICLE")
    if isinstance(found, bytes):
        return found
    named, octets, message = found
    return (b"220 " + named + b"\r\n" + _xref_line(session, message), stuff(octets), DOT_END)


@commands.command("HEAD", states=(READER,), syntax=article, usage="HEAD [message-id|number]")
async def head(session: NntpSession, which: bytes | int | None) -> Reply:
    """RFC 3977 section 6.2.2."""
    found = await _retrieve(session, which, "HEAD")
    if isinstance(found, bytes):
        return found
    named, octets, message = found
    return (b"221 " + named + b"\r\n" + _xref_line(session, message), stuff(octets[: header_end(octets)]), DOT_END)


@commands.command("BODY", states=(READER,), syntax=article, usage="BODY [message-id|number]")
async def body(session: NntpSession, which: bytes | int | None) -> Reply:
    """RFC 3977 section 6.2.3."""
    found = await _retrieve(session, which, "BODY")
    if isinstance(found, bytes):
        return found
    named, octets, _ = found
    return (b"222 " + named + b"\r\n", stuff(octets[header_end(octets) + 2 :]), DOT_END)


@commands.command("STAT", states=(READER,), syntax=article, usage="STAT [message-id|number]")
async def stat(session: NntpSession, which: bytes | int | None) -> Reply:
    """RFC 3977 section 6.2.4: takes no section, the article is not read."""
    found = find(session, which)
    if isinstance(found, bytes):
        return found
    number, message = found
    return b"223 %d %b\r\n" % (number, message.content.message_id or NO_MESSAGE_ID)


__all__ = ["SyntaxProblem", "find", "header_end"]
