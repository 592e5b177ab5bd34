"""Feeds from peers: two at once, and what the store may refuse."""

from __future__ import annotations

import pytest

from harness.clients import NntpClient
from protocols.nntp.history import history_of
from protocols.ports import Unavailable


def article(message_id: str) -> bytes:
    return (
        f"Path: peer!x\r\nFrom: a@b.example\r\nNewsgroups: misc.test\r\nSubject: s\r\n"
        f"Date: Mon, 01 Jan 2024 12:00:00 +0000\r\nMessage-ID: {message_id}\r\n\r\nbody\r\n.\r\n"
    ).encode()


async def test_an_article_on_its_way_in_is_deferred(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test",))
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        with history_of(server.services).arriving(b"<1@x>"):
            await client.command("CHECK <1@x>", 431)
            await client.command("IHAVE <1@x>", 436)
        await client.command("CHECK <1@x>", 238)


async def test_what_cannot_be_taken_now_may_come_again(start_server, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test",))

    async def full(*_: object) -> None:
        raise Unavailable("disk full")

    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        monkeypatch.setattr(server.converter, "put", full)
        await client.command("IHAVE <1@x>", 335)
        client.write(article("<1@x>"))
        assert await client.line() == b"436 disk full"
        client.write(b"TAKETHIS <1@x>\r\n" + article("<1@x>"))
        assert (await client.line()).startswith(b"400")  # RFC 4644 section 2.5.2
        monkeypatch.undo()
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        client.write(b"TAKETHIS <1@x>\r\n" + article("<1@x>"))
        assert await client.line() == b"239 <1@x>"


async def test_a_thousand_articles_in_one_stream(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test",))
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        names = [f"<{n}@x>" for n in range(1000)]
        client.write(b"".join(f"TAKETHIS {name}\r\n".encode() + article(name) for name in names))
        for name in names:
            assert await client.line() == f"239 {name}".encode()
        assert (await client.command("GROUP misc.test")) == b"211 1000 1 1000 misc.test"


@pytest.mark.parametrize("end", [b"", b"Path: x", b"Path: x\r\n\r\n.\r"])
async def test_a_peer_that_goes_in_the_middle_of_an_article(start_server, end) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test",))
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        client.write(b"TAKETHIS <1@x>\r\n" + end)
        client.writer.write_eof()
        assert await client.reader.read() == b""
    assert server.scheduler.failures == []
    assert not server.store.newsgroups["misc.test"].messages
