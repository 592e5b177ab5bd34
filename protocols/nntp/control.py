"""Control messages: newgroup, rmgroup, cancel, and Supersedes (RFC 5537 section 5), obeyed if the settings say so."""

from __future__ import annotations

import contextlib
import re

from protocols.mime.address import parse_addresses
from protocols.ports import PortError, Services

from .article import Article, is_group_name
from .history import history_of
from .syntax import is_message_id

_DESCRIPTION = re.compile(rb"(?im)^For your newsgroups file:[ \t]*\r?\n([^\s]+)[ \t]+([^\r\n]+)")


def type_of(article: Article) -> str:
    """The first word of the Control field, lower case, or an empty string."""
    words = article.get(b"control").split(None, 1)
    return words[0].decode("ascii", "replace").lower() if words else ""


async def withdraw(services: Services, article: Article) -> None:
    """Do what `cancel` and Supersedes say, before the article that says so is stored.

    Whoever sent it was not answered yet: should this process end in between, it comes again. The other way round the
    article would be here, never to be looked at again, and what it withdraws too.
    """
    with contextlib.suppress(PortError):
        if superseded := article.get(b"supersedes"):
            await _cancel(services, article, superseded)
        words = article.get(b"control").split()
        if len(words) > 1 and type_of(article) == "cancel":
            await _cancel(services, article, words[1])


async def change_groups(services: Services, article: Article) -> None:
    """Do what `newgroup` and `rmgroup` say; what cannot be done is passed over, as the article itself was taken."""
    words = article.get(b"control").split()
    if len(words) < 2 or not article.get(b"approved"):
        return
    with contextlib.suppress(PortError):
        if type_of(article) == "newgroup":
            await _newgroup(services, article, words[1], moderated=words[2:3] == [b"moderated"])
        elif type_of(article) == "rmgroup":
            await services.store.delete_newsgroup(words[1].decode("utf-8", "replace"))


async def _newgroup(services: Services, article: Article, argument: bytes, *, moderated: bool) -> None:
    """RFC 5537 section 5.2.1: make the newsgroup, or change its description and whether it is moderated."""
    name = argument.decode("utf-8", "replace")
    if not is_group_name(name):
        return
    found = _DESCRIPTION.search(article.octets)
    description = found[2].strip().decode("utf-8", "replace") if found and found[1] == argument else ""
    store = services.store
    posting = "m" if moderated else "y"
    if name not in store.newsgroups:
        await store.create_newsgroup(name, description=description, posting=posting)


async def _cancel(services: Services, article: Article, target: bytes) -> None:
    """RFC 5537 section 5.3: withdraw an article if the same person says so; one that has not come yet stays away."""
    if not is_message_id(target):
        return
    copies = list(services.store.find_message_id(target))
    if copies:
        _, part = await services.conversion.structure(copies[0])
        if not _authors(part.headers.get(b"from")) & (
            _authors(article.get(b"from")) | _authors(article.get(b"sender"))
        ):
            return
    history = history_of(services)
    history.remember(target)
    await history.kept()  # before the message that withdrew it is acknowledged: no crash lets the article come again
    for copy in copies:
        await services.store.expunge(copy.folder, [copy])


def _authors(value: bytes | None) -> set[bytes]:
    return {address.email.lower() for address in parse_addresses(value or b"") if address.email}
