"""The client's side of NNTP, as newsfeeds need it: one connection to another news server.

Every reply has a deadline and a bound; what does not fit ends the connection with PeerError.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from protocols.reader import Buffer, InputTooLong
from protocols.reply import stuff

if TYPE_CHECKING:
    from .config import Newsfeed

LINE_BYTES_MAX = 65_536
READ_OCTETS = 65_536


class PeerError(Exception):
    """The other server refused, said something strange, or is gone; the text says which."""


class NewsPeer:
    """A connection to another news server. `async with NewsPeer.connect(feed) as peer:`"""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, seconds_max: float, block_bytes_max: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._seconds_max = seconds_max
        self._block_bytes_max = block_bytes_max
        self._buffer = Buffer()

    @classmethod
    async def connect(
        cls, feed: Newsfeed, *, context: ssl.SSLContext | None, seconds_max: float, block_bytes_max: int
    ) -> Self:
        """Connect, read the greeting, say MODE READER to who pulls, log in. Raises PeerError."""
        implicit = (context or ssl.create_default_context()) if feed.tls else None
        try:
            async with asyncio.timeout(seconds_max):
                reader, writer = await asyncio.open_connection(feed.host, feed.port, ssl=implicit)
        except (OSError, TimeoutError) as error:
            raise PeerError(f"{feed.host}:{feed.port} cannot be reached: {error or 'timed out'}") from error
        peer = cls(reader, writer, seconds_max=seconds_max, block_bytes_max=block_bytes_max)
        try:
            await peer.expect(b"", 200, 201)
            if feed.pulls:
                await peer.ask(b"MODE READER")
            if feed.user:
                code, text = await peer.ask(f"AUTHINFO USER {feed.user}".encode())
                if code == 381:
                    code, text = await peer.ask(f"AUTHINFO PASS {feed.password}".encode())
                if code != 281:
                    raise PeerError(f"login refused: {code} {text}")
        except BaseException:
            writer.transport.abort()
            raise
        return peer

    async def _fill(self) -> None:
        try:
            async with asyncio.timeout(self._seconds_max):
                data = await self._reader.read(READ_OCTETS)
        except TimeoutError:
            raise PeerError(f"no reply for {self._seconds_max:g} s") from None
        except OSError as error:
            raise PeerError(f"connection lost: {error}") from error
        if not data:
            raise PeerError("the connection was closed")
        self._buffer.feed(data)

    async def _line(self) -> bytes:
        try:
            while (line := self._buffer.line(LINE_BYTES_MAX)) is None:
                await self._fill()
        except InputTooLong as problem:
            raise PeerError(f"a line is {problem}") from None
        return line

    async def block(self) -> bytes:
        """The dot-terminated block that follows a status line, unstuffed. Raises PeerError."""
        try:
            while (block := self._buffer.dot_block(self._block_bytes_max)) is None:
                await self._fill()
        except InputTooLong as problem:
            raise PeerError(f"a block is {problem}") from None
        return block

    async def reply(self) -> tuple[int, str]:
        """The next status line: code and text. Raises PeerError."""
        line = await self._line()
        if len(line) < 3 or not line[:3].isdigit():
            raise PeerError(f"not a reply: {line[:60]!r}")
        return int(line[:3]), line[4:].decode("utf-8", "replace")

    async def send(self, pieces: Sequence[bytes]) -> None:
        """Write, and wait until there is room for more. Raises PeerError."""
        try:
            self._writer.writelines(pieces)
            async with asyncio.timeout(self._seconds_max):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise PeerError(f"connection lost: {error or 'timed out'}") from error

    async def ask(self, command: bytes) -> tuple[int, str]:
        """A command and its status line. Raises PeerError."""
        await self.send((command, b"\r\n"))
        return await self.reply()

    async def expect(self, command: bytes, *codes: int) -> str:
        """As `ask`, but any other code raises PeerError. An empty command only waits for the reply."""
        code, text = await (self.ask(command) if command else self.reply())
        if code not in codes:
            raise PeerError(f"{command.decode('utf-8', 'replace') or 'greeting'}: {code} {text}")
        return text

    async def article(self, octets: bytes) -> None:
        """Send an article with its lone dot."""
        await self.send((stuff(octets), b".\r\n"))

    async def quit(self) -> None:
        """Say goodbye and close; no harm where the peer is gone."""
        try:
            await self.ask(b"QUIT")
        except PeerError:
            pass
        finally:
            self._writer.close()

    def abort(self) -> None:
        """Close now: whoever waits for a reply gets PeerError."""
        self._writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.quit()
        else:
            self._writer.transport.abort()
