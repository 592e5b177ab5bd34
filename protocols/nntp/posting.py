"""POST: injection (RFC 3977 section 6.3.1, RFC 5537 section 3.5), and how every article is filed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protocols.ports import PortError, Services, Target, Unavailable
from protocols.reader import InputTooLong
from protocols.reply import CRLF, Reply, one_line
from protocols.wildmat import WildmatError, wildmat

from . import control
from .article import Article, ArticleProblem, inject
from .history import history_of, is_known
from .overview import OVERVIEW_KEY, overview_of
from .session import READER, NntpSession, commands


class Duplicate(Exception):
    """The article is here, has been, or is coming in from somebody else now (`arriving`)."""

    def __init__(self, *, arriving: bool) -> None:
        super().__init__("duplicate")
        self.arriving = arriving


def groups_for(services: Services, article: Article) -> list[Any]:
    """The newsgroups of this server in which the article goes (RFC 5537 section 3.7)."""
    known = services.store.newsgroups
    found = [known[name] for name in article.newsgroups if name in known]
    if control.type_of(article):
        # a control message is read in control.TYPE or control rather than among the articles (RFC 5537 section 5.1)
        names = (f"control.{control.type_of(article)}", "control")
        found = next(([known[name]] for name in names if name in known), found)
    return found


async def file_article(services: Services, article: Article, groups: Sequence[Any]) -> None:
    """Put an article into newsgroups, each in one commit with the others, and obey it if it is a control message.

    Raises Duplicate and what `Conversion.put` raises.
    """
    history = history_of(services)
    with history.arriving(article.message_id) as ours:
        if not ours:
            raise Duplicate(arriving=True)
        if is_known(services, article.message_id):
            raise Duplicate(arriving=False)
        if services.settings.nntp_control_messages:
            await control.withdraw(services, article)
        if groups:
            messages = await services.conversion.put(article.octets, [Target(group) for group in groups])
            # so that OVER never has to read the article
            await services.conversion.derive(messages[0], OVERVIEW_KEY, overview_of)
        else:
            history.remember(article.message_id)
    if services.settings.nntp_control_messages:
        await control.change_groups(services, article)


def moderator_of(session: NntpSession, name: str) -> str | None:
    """Where submissions to a moderated newsgroup are mailed, or None (RFC 6048 section 2.4 has the form)."""
    for groups, address in session.settings.nntp_moderators:
        try:
            matches = wildmat(groups).matches(name)
        except WildmatError:
            continue
        if matches:
            return address.replace("%s", name.replace(".", "-"))
    return None


async def _submit_to_moderator(session: NntpSession, name: str, octets: bytes) -> Reply:
    """RFC 5537 section 3.5.1: the proto-article goes to the moderator by mail, as it came."""
    address = moderator_of(session, name)
    if address is None:
        return b"441 there is no moderator for " + name.encode() + CRLF
    mail = b"To: " + address.encode() + CRLF + octets
    await session.services.submission.submit("", [address], mail)
    return b"240 article was mailed to the moderator\r\n"


@commands.command("POST", states=(READER,), capability="POST")
async def post(session: NntpSession, _: None) -> Reply:
    """RFC 3977 section 6.3.1."""
    if not session.posting_allowed:
        return b"440 posting is not permitted\r\n"
    session.send(b"340 send the article\r\n")
    try:
        octets = await session.continuation_block(session.limits.message_bytes_max)
    except InputTooLong as problem:
        return b"441 the article is " + one_line(str(problem)) + CRLF
    try:
        return await _inject(session, octets)
    except ArticleProblem as problem:
        return b"441 " + one_line(str(problem)) + CRLF
    except Duplicate:
        return b"441 an article with that message-id has been here\r\n"
    except PortError as error:
        code = b"441 try again later: " if isinstance(error, Unavailable) else b"441 "
        return code + one_line(str(error)) + CRLF


def new_message_id(session: NntpSession) -> bytes:
    """A Message-ID that no other article has (RFC 5536 section 3.1.3)."""
    unique = session.services.random_octets(12).hex()
    return f"<{unique}.{int(session.services.clock.time()):x}@{session.settings.hostname}>".encode()


async def _inject(session: NntpSession, octets: bytes) -> Reply:
    article = inject(
        octets,
        hostname=session.settings.hostname,
        peer=session.connection.peer,
        now=session.services.clock.time(),
        new_id=new_message_id(session),
        groups_max=session.limits.newsgroups_per_article_max,
    )
    groups = groups_for(session.services, article)
    if not groups and not (control.type_of(article) and session.settings.nntp_control_messages):
        return b"441 none of the newsgroups is here\r\n"
    closed = [group for group in groups if group.posting == "n"]
    if closed:
        return f"441 posting to {closed[0].name} is not permitted\r\n".encode()
    moderated = [group for group in groups if group.posting == "m"]
    if moderated and not article.get(b"approved"):
        return await _submit_to_moderator(session, moderated[0].name, octets)
    await file_article(session.services, article, groups)
    return b"240 article received " + article.message_id + CRLF
