"""IHAVE (RFC 3977 section 6.3.2), CHECK and TAKETHIS (RFC 4644): articles from peers."""

from __future__ import annotations

from enum import Enum

from protocols.ports import PortError, Services, Unavailable
from protocols.reader import InputTooLong
from protocols.registry import SyntaxProblem
from protocols.reply import CRLF, Reply, one_line

from . import control
from .article import ArticleProblem, is_in_path, relay
from .history import history_of, is_known
from .posting import Duplicate, file_article, groups_for
from .session import READER, NntpSession, commands
from .syntax import is_message_id, words


class Verdict(Enum):
    """What became of an article that a peer sent."""

    TAKEN = "taken"
    REFUSED = "refused"
    """Never send it again."""
    LATER = "later"
    """Send it again later."""


NO_TRANSIT = b"502 transfer of articles is not permitted\r\n"
NO_TRANSIT_EXCHANGE55 = b"500 command not recognized\r\n"
"""KB Q235318: what a peer without a newsfeed gets."""


def _refusal(session: NntpSession) -> bytes | None:
    if session.settings.nntp_transit:
        return None
    return NO_TRANSIT_EXCHANGE55 if session.exchange55 else NO_TRANSIT


async def take(services: Services, peer: str, octets: bytes, offered: bytes) -> tuple[Verdict, str]:
    """Take in an article from a peer, if it is acceptable and new: what became of it, and why."""
    history = history_of(services)
    settings = services.settings
    try:
        article = relay(
            octets,
            hostname=settings.hostname,
            peer=peer,
            now=services.clock.time(),
            groups_max=settings.limits.newsgroups_per_article_max,
        )
        if article.message_id != offered:
            raise ArticleProblem("the article has another message-id than was offered")
        if settings.hostname != "localhost" and is_in_path(article, settings.hostname):
            raise ArticleProblem("the article has been here: Path names this server")
        groups = groups_for(services, article)
        if not groups and not (control.type_of(article) and settings.nntp_control_messages):
            raise ArticleProblem("none of the newsgroups is here")
        if any(group.posting == "m" for group in groups) and not article.get(b"approved"):
            raise ArticleProblem("the newsgroup is moderated and the article is not approved")
        await file_article(services, article, groups)
    except ArticleProblem as problem:
        history.remember(offered)
        return Verdict.REFUSED, str(problem)
    except Duplicate as duplicate:
        return (Verdict.LATER if duplicate.arriving else Verdict.REFUSED), "duplicate"
    except Unavailable as error:
        return Verdict.LATER, str(error)
    except PortError as error:
        return Verdict.REFUSED, str(error)
    return Verdict.TAKEN, ""


@commands.command("IHAVE", states=(READER,), syntax=words(1, 1), usage="IHAVE message-id", capability="IHAVE")
async def ihave(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 3977 section 6.3.2."""
    refusal = _refusal(session)
    if refusal is not None:
        return refusal
    offered = arguments[0]
    if not is_message_id(offered):
        raise SyntaxProblem("a message-id is expected")
    if is_known(session.services, offered):
        return b"435 article not wanted\r\n"
    if history_of(session.services).is_arriving(offered):
        return b"436 another peer is sending it; try again later\r\n"
    session.send(b"335 send the article\r\n")
    try:
        octets = await session.continuation_block(session.limits.message_bytes_max)
    except InputTooLong as problem:
        return b"437 the article is " + one_line(str(problem)) + CRLF
    verdict, why = await take(session.services, session.connection.peer, octets, offered)
    if verdict is Verdict.TAKEN:
        return b"235 article received\r\n"
    return (b"436 " if verdict is Verdict.LATER else b"437 ") + one_line(why) + CRLF


@commands.command("CHECK", states=(READER,), syntax=words(1, 1), usage="CHECK message-id", capability="STREAMING")
async def check(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 4644 section 2.4."""
    refusal = _refusal(session)
    if refusal is not None:
        return refusal
    offered = arguments[0]
    if not is_message_id(offered):
        # the syntax of a message-id is checked, but the answer stays one of CHECK's own
        return b"438 " + offered + CRLF
    if is_known(session.services, offered):
        return b"438 " + offered + CRLF
    return (b"431 " if history_of(session.services).is_arriving(offered) else b"238 ") + offered + CRLF


@commands.command("TAKETHIS", states=(READER,), syntax=words(1, 1), usage="TAKETHIS message-id", capability="STREAMING")
async def takethis(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 4644 section 2.5: the article follows at once and is read whatever becomes of it."""
    offered = arguments[0]
    try:
        octets = await session.continuation_block(session.limits.message_bytes_max)
    except InputTooLong:
        return b"439 " + offered + CRLF
    refusal = _refusal(session)
    if refusal is not None:
        return refusal
    if not is_message_id(offered) or is_known(session.services, offered):
        return b"439 " + offered + CRLF
    verdict, _ = await take(session.services, session.connection.peer, octets, offered)
    if verdict is Verdict.LATER:
        # RFC 4644 section 2.5: there is no reply for "later", only the end of the connection
        session.end("article could not be taken now")
        return b"400 the article cannot be taken now\r\n"
    return (b"239 " if verdict is Verdict.TAKEN else b"439 ") + offered + CRLF
