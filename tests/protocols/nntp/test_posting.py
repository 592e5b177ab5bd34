"""POST: moderated and closed newsgroups, speed of duplicates, what the store may refuse."""

from __future__ import annotations

import asyncio

import pytest

from harness.clients import NntpClient, Refused
from protocols.nntp.overview import OVERVIEW_KEY
from protocols.ports import OverQuota, Unavailable

ARTICLE = b"From: a@example.com\r\nNewsgroups: mod.one\r\nSubject: hi\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"


async def moderated(start_server, **fields):  # type: ignore[no-untyped-def]
    server = await start_server(users=["chief:secret"], **fields)
    await server.store.create_newsgroup("mod.one", posting="m")
    await server.store.create_newsgroup("closed.one", posting="n")
    await server.store.create_newsgroup("open.one")
    return server


async def test_a_submission_goes_to_the_moderator_by_mail(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await moderated(start_server, nntp_moderators=(("x.*", "no@x"), ("mod.*", "chief@%s.example")))
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        assert b"moderator" in await client.post(ARTICLE)
        await client.command("STAT <1@x>", 430)
        inbox = (await server.directory.recipient("chief")).inbox
        async with asyncio.timeout(10):
            while not inbox.messages:
                await asyncio.sleep(0.01)
        octets = await server.converter.octets(inbox.messages[0])
        assert octets.endswith(b"To: chief@mod-one.example\r\n" + ARTICLE)


async def test_without_a_moderator_a_submission_is_refused(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await moderated(start_server)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        with pytest.raises(Refused, match="441 there is no moderator"):
            await client.post(ARTICLE)


async def test_an_approved_article_is_filed(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await moderated(start_server)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.post(ARTICLE.replace(b"Subject", b"Approved: chief@x\r\nSubject"))
        assert (await client.command("GROUP mod.one")).startswith(b"211 1 1 1")
    (message,) = server.store.newsgroups["mod.one"].messages
    assert OVERVIEW_KEY in message.content.derived


async def test_a_closed_newsgroup_takes_nothing(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await moderated(start_server)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        with pytest.raises(Refused, match=r"441 posting to closed\.one"):
            await client.post(ARTICLE.replace(b"mod.one", b"open.one,closed.one"))
        assert not server.store.newsgroups["open.one"].messages


@pytest.mark.parametrize(
    ("error", "text"),
    [(Unavailable("disk full"), "441 try again later: disk full"), (OverQuota("too many"), "441 too many")],
)
async def test_what_the_store_refuses(start_server, monkeypatch, error, text) -> None:  # type: ignore[no-untyped-def]
    server = await moderated(start_server)

    async def fail(*_: object) -> None:
        raise error

    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        monkeypatch.setattr(server.converter, "put", fail)
        with pytest.raises(Refused, match=text):
            await client.post(ARTICLE.replace(b"mod.one", b"open.one"))
        monkeypatch.undo()
        await client.post(ARTICLE.replace(b"mod.one", b"open.one"))


async def test_of_many_that_post_the_same_article_at_once_one_succeeds(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await moderated(start_server)
    clients = [await NntpClient.connect(server.addresses["nntp"]) for _ in range(8)]
    answers = await asyncio.gather(
        *(client.post(ARTICLE.replace(b"mod.one", b"open.one")) for client in clients), return_exceptions=True
    )
    assert sum(isinstance(answer, bytes) for answer in answers) == 1
    assert len(server.store.newsgroups["open.one"].messages) == 1
    for client in clients:
        await client.close()
