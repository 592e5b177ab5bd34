"""Newsfeeds and expiry begin and end with the server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.config import Newsfeed, SettingsError
from emulator.server import INS
from harness.clients import NntpClient

ARTICLE = b"From: a@b.example\r\nNewsgroups: misc.test\r\nSubject: s\r\nMessage-ID: <1@x.example>\r\n\r\nbody\r\n"


async def test_an_article_goes_from_server_to_server(start_server) -> None:  # type: ignore[no-untyped-def]
    far = await start_server(groups=("misc.test",), hostname="far.test")
    host, port = far.addresses["nntp"]
    feed = Newsfeed(False, host, port, identity="far.test")
    near = await start_server(groups=("misc.test",), hostname="near.test", newsfeeds=(feed,))
    async with await NntpClient.connect(near.addresses["nntp"]) as client:
        await client.post(ARTICLE)
    async with asyncio.timeout(10):
        while not far.store.newsgroups["misc.test"].messages:
            await asyncio.sleep(0.005)
    async with await NntpClient.connect(far.addresses["nntp"]) as client:
        octets = await client.article("<1@x.example>")
    assert b"\r\nPath: far.test!.SEEN.127.0.0.1!near.test!.POSTED.127.0.0.1!not-for-mail\r\n" in octets


async def test_the_service_stops_and_starts_beside_its_readers(start_server) -> None:  # type: ignore[no-untyped-def]
    far = await start_server(groups=("misc.test",), hostname="far.test")
    host, port = far.addresses["nntp"]
    feed = Newsfeed(False, host, port, identity="far.test")
    near = await start_server(groups=("misc.test",), hostname="near.test", newsfeeds=(feed,))
    for request in (near.control.pause, near.control.resume, near.control.pause, near.control.stop):
        await asyncio.wait_for(request(INS), 10)
    async with await NntpClient.connect(near.addresses["nntp"]) as client:
        await client.post(ARTICLE)  # readers are served by the information store
        assert near.store.newsgroups["misc.test"].messages
        await asyncio.wait_for(near.control.start(INS), 10)
        await client.post(ARTICLE.replace(b"<1@", b"<2@"))
    async with asyncio.timeout(10):
        while not far.store.newsgroups["misc.test"].messages:
            await asyncio.sleep(0.005)


async def test_old_articles_go_while_the_server_runs(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(
        groups=("misc.test",), article_expire_seconds=0.01, article_expire_interval_seconds=0.02
    )
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.post(ARTICLE)
        async with asyncio.timeout(10):
            while server.store.newsgroups["misc.test"].messages:
                await asyncio.sleep(0.005)


async def test_a_peer_that_is_not_there_does_not_keep_the_server_from_stopping(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test",))
    assert server.settings == replace(server.settings, newsfeeds=())
    feed = Newsfeed(True, "127.0.0.1", 1)
    lonely = await start_server(newsfeeds=(feed,))
    async with asyncio.timeout(5):
        await lonely.stop()


async def test_authorities_that_cannot_be_read(start_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingsError, match="newsfeed_tls_ca"):
        await start_server(newsfeed_tls_ca=tmp_path / "gone.pem")
