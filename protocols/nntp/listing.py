"""LIST and its keywords, NEWGROUPS, NEWNEWS, XGTITLE (RFC 3977 section 7, RFC 6048, RFC 2980 section 2.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any

from protocols.registry import SyntaxProblem
from protocols.reply import DOT_END, Reply, line_block, one_line
from protocols.wildmat import Wildmat, wildmat

from .session import LINES_PER_STEP, READER, NntpSession, commands, water_marks
from .syntax import header_name, number_range, range_or_message_id, since, text, wildmat_argument, words

NOT_KEPT = b"503 no such list is kept here\r\n"


def _one(value: str) -> bytes:
    return one_line(value, 8000)


def _active(group: Any) -> str:
    _, low, high = water_marks(group)
    return f"{group.name} {high} {low} {group.posting}\r\n"


def _counts(group: Any) -> str:
    count, low, high = water_marks(group)
    return f"{group.name} {high} {low} {count} {group.posting}\r\n"


def _description(group: Any) -> str:
    return f"{group.name}\t{_one(group.description).decode()}\r\n"


def _times(group: Any) -> str:
    return f"{group.name} {int(group.created)} news\r\n"


def _matching(session: NntpSession, wanted: Wildmat) -> list[Any]:
    groups = session.services.store.newsgroups
    if wanted.everything:
        return list(groups.values())
    return [group for name, group in groups.items() if wanted.matches(name)]


async def _send_groups(session: NntpSession, first: bytes, groups: list[Any], line: Callable[[Any], str]) -> Reply:
    session.send(first)
    for start in range(0, len(groups), LINES_PER_STEP):
        session.send("".join([line(group) for group in groups[start : start + LINES_PER_STEP]]).encode())
        await session.flush_when_large()
    return DOT_END


_GROUP_LISTS: dict[bytes, tuple[bytes, Callable[[Any], str]]] = {
    b"ACTIVE": (b"215 newsgroups: name high low status\r\n", _active),
    b"COUNTS": (b"215 newsgroups: name high low count status\r\n", _counts),
    b"NEWSGROUPS": (b"215 newsgroups and descriptions\r\n", _description),
    b"ACTIVE.TIMES": (b"215 newsgroups and when they were made\r\n", _times),
}

OVERVIEW_FORMAT = (
    b"Subject:",
    b"From:",
    b"Date:",
    b"Message-ID:",
    b"References:",
    b"Bytes:",
    b"Lines:",
    b"Xref:full",
)
"""LIST OVERVIEW.FMT (RFC 3977 section 8.4). `Bytes:` and `Lines:` are the spelling that the section allows for the sake
of older clients: slrn does without the overview where it reads `:bytes`."""


def _texts(session: NntpSession, keyword: bytes) -> list[bytes] | None:
    """The lines of the lists that come from the settings, or None where none is kept."""
    settings = session.settings
    lines: Iterable[str] = ()
    if keyword == b"MOTD":
        lines = settings.nntp_motd.splitlines()
    elif keyword == b"SUBSCRIPTIONS":
        lines = settings.nntp_subscriptions
    elif keyword == b"MODERATORS":
        lines = [f"{groups}:{address}" for groups, address in settings.nntp_moderators]
    elif keyword == b"DISTRIBUTIONS":
        lines = [f"{name}\t{description}" for name, description in settings.nntp_distributions]
    elif keyword == b"DISTRIB.PATS":
        lines = [f"{weight}:{groups}:{value}" for weight, groups, value in settings.nntp_distribution_patterns]
    found = [line.replace("\r", " ").replace("\n", " ").replace("\0", " ").encode() for line in lines]
    return found or None


_TEXT_LISTS = {
    b"MOTD": b"215 message of the day",
    b"SUBSCRIPTIONS": b"215 newsgroups for new readers",
    b"MODERATORS": b"215 addresses for submissions to moderated newsgroups",
    b"DISTRIBUTIONS": b"215 distributions and descriptions",
    b"DISTRIB.PATS": b"215 distribution patterns",
}
_NEED_NO_WILDMAT = frozenset((b"MOTD", b"MODERATORS", b"DISTRIBUTIONS", b"DISTRIB.PATS"))


def list_keywords(session: NntpSession) -> list[bytes]:
    """The keywords to advertise (RFC 3977 section 5.2.2): those whose list is kept."""
    hidden = session.settings.capabilities_hidden
    found = [*_GROUP_LISTS, *(key for key in _TEXT_LISTS if _texts(session, key) is not None)]
    if "OVER" not in hidden:
        found.append(b"OVERVIEW.FMT")
    if "HDR" not in hidden:
        found.append(b"HEADERS")
    return sorted(found)


@commands.command("LIST", states=(READER,), syntax=words(0, 2), usage="LIST [keyword [wildmat]]")
async def list_(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 3977 section 7.6.1 and RFC 6048; without a keyword it is LIST ACTIVE."""
    keyword = arguments[0].upper() if arguments else b"ACTIVE"
    argument = arguments[1] if len(arguments) == 2 else None
    if keyword in _GROUP_LISTS:
        first, line = _GROUP_LISTS[keyword]
        wanted = wildmat_argument(argument) if argument is not None else wildmat("*")
        return await _send_groups(session, first, _matching(session, wanted), line)
    if keyword == b"OVERVIEW.FMT":
        _none(argument)
        return line_block(b"215 order of the fields of the overview", OVERVIEW_FORMAT)
    if keyword == b"HEADERS":
        if argument is not None and argument.upper() not in (b"MSGID", b"RANGE"):
            raise SyntaxProblem("MSGID or RANGE is expected")
        return line_block(b"215 fields and metadata for HDR", (b":", b":bytes", b":lines"))
    if keyword in _TEXT_LISTS:
        if keyword in _NEED_NO_WILDMAT:
            _none(argument)
        lines = _texts(session, keyword)
        if lines is None:
            return NOT_KEPT
        if argument is not None:
            wanted = wildmat_argument(argument)
            lines = [line for line in lines if wanted.matches(text(line))]
        return line_block(_TEXT_LISTS[keyword], lines)
    raise SyntaxProblem("the keyword is not known")


def _none(argument: bytes | None) -> None:
    if argument is not None:
        raise SyntaxProblem("no argument is allowed behind this keyword")


@commands.command("XGTITLE", states=(READER,), syntax=words(0, 1), usage="XGTITLE [wildmat]", capability="XGTITLE")
async def xgtitle(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 2980 section 2.5; without a wildmat the selected newsgroup."""
    if arguments:
        groups = _matching(session, wildmat_argument(arguments[0]))
    else:
        groups = [session.group] if session.group is not None else []
    return await _send_groups(session, b"282 newsgroups and descriptions\r\n", groups, _description)


@commands.command("NEWGROUPS", states=(READER,), syntax=words(2, 3), usage="NEWGROUPS [yy]yymmdd hhmmss [GMT]")
async def newgroups(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 3977 section 7.3."""
    moment = since(arguments, session.services.clock.time())
    groups = [group for group in session.services.store.newsgroups.values() if group.created >= moment]
    return await _send_groups(session, b"231 new newsgroups follow\r\n", groups, _active)


@commands.command(
    "NEWNEWS",
    states=(READER,),
    syntax=words(3, 4),
    usage="NEWNEWS wildmat [yy]yymmdd hhmmss [GMT]",
    capability="NEWNEWS",
)
async def newnews(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 3977 section 7.4: each article once, however many newsgroups it is in.

    Articles arrive in the order of their numbers, so that the search goes back from the newest and stops early.
    """
    wanted = wildmat_argument(arguments[0])
    moment = since(arguments[1:], session.services.clock.time())
    session.send(b"230 list of new articles follows\r\n")
    seen: set[bytes] = set()
    for group in _matching(session, wanted):
        recent = list(takewhile(lambda message: message.save_date >= moment, reversed(group.messages)))
        lines: list[bytes] = []
        for message in reversed(recent):
            message_id = message.content.message_id
            if message_id and message_id not in seen:
                seen.add(message_id)
                lines.append(message_id + b"\r\n")
        session.send(b"".join(lines))
        await session.flush_when_large()
    return DOT_END


__all__ = ["header_name", "list_keywords", "number_range", "range_or_message_id"]
