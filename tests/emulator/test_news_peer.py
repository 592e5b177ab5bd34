"""The client's side of NNTP against peers that behave and peers that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from emulator.config import Newsfeed
from emulator.news_peer import NewsPeer, PeerError


class Script:
    """A server that says one thing and listens."""

    def __init__(self) -> None:
        self.says = b""
        self.closes = True
        self.heard = b""
        self.address = ("", 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.says)
        if self.closes:
            writer.write_eof()
        self.heard = await reader.read()
        writer.close()


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    found = Script()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.address = server.sockets[0].getsockname()
    yield found
    server.close()


async def connect(script: Script, **fields: object) -> NewsPeer:
    feed = Newsfeed(False, *script.address, **fields)  # type: ignore[arg-type]
    return await NewsPeer.connect(feed, context=None, seconds_max=0.2, block_bytes_max=100)


async def test_a_dialogue(script: Script) -> None:
    script.says = b"200 hi\r\n281 ok\r\n224 overview\r\n..a\r\nb\r\n.\r\n205 bye\r\n"
    async with await connect(script, user="u") as peer:
        assert await peer.expect(b"OVER", 224) == "overview"
        assert await peer.block() == b".a\r\nb\r\n"
        await peer.article(b".x\r\ny")
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while not script.heard:
            await asyncio.sleep(0.005)
    assert script.heard == b"AUTHINFO USER u\r\nOVER\r\n..x\r\ny\r\n.\r\nQUIT\r\n"


@pytest.mark.parametrize(
    ("says", "closes", "error"),
    [
        (b"", True, "the connection was closed"),
        (b"502 no\r\n", True, "greeting: 502 no"),
        (b"hello\r\n", True, "not a reply"),
        (b"200", False, "no reply for 0.2 s"),
        (b"2" * 70_000 + b"\r\n", True, "a line is longer than"),
    ],
)
async def test_strange_peers(script: Script, says: bytes, closes: bool, error: str) -> None:
    script.says, script.closes = says, closes
    with pytest.raises(PeerError, match=error):
        await connect(script)


async def test_a_block_has_a_bound(script: Script) -> None:
    script.says = b"200 hi\r\n220 article\r\n" + b"x" * 200 + b"\r\n.\r\n"
    peer = await connect(script)
    await peer.expect(b"ARTICLE", 220)
    with pytest.raises(PeerError, match="a block is longer than 100"):
        await peer.block()
    peer.abort()


async def test_a_login_that_is_refused(script: Script) -> None:
    script.says = b"200 hi\r\n381 more\r\n481 no\r\n"
    with pytest.raises(PeerError, match="login refused: 481 no"):
        await connect(script, user="u", password="p")
