"""Small raw clients over real sockets: they say exactly what they are told, and can misbehave.

Not mail libraries: a scenario needs to know which octet stands on the wire when. Every read has a deadline.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Self

REPLY_SECONDS_MAX = 10.0


class Refused(Exception):
    """The server answered, but not with success; the text is its answer."""


class Client:
    """A connection, and the lines that cross it."""

    greeting_ok: tuple[bytes, ...] = ()

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds_max: float) -> None:
        self.reader = reader
        self.writer = writer
        self.seconds_max = seconds_max
        self.greeting = b""

    @classmethod
    async def connect(cls, address: tuple[str, int], *, seconds_max: float = REPLY_SECONDS_MAX) -> Self:
        """Connect and read the greeting. Raises TimeoutError, OSError, Refused."""
        async with asyncio.timeout(seconds_max):
            reader, writer = await asyncio.open_connection(*address, limit=1 << 26)
            client = cls(reader, writer, seconds_max)
            try:
                client.greeting = await client.read_greeting()
            except BaseException:
                writer.transport.abort()
                raise
        return client

    async def read_greeting(self) -> bytes:
        line = await self.line()
        if not line.startswith(self.greeting_ok):
            raise Refused(line.decode("utf-8", "replace"))
        return line

    async def line(self) -> bytes:
        """The next line, without CRLF. Raises TimeoutError, ConnectionError at EOF."""
        async with asyncio.timeout(self.seconds_max):
            line = await self.reader.readuntil(b"\r\n")
        return line[:-2]

    async def block(self) -> bytes:
        """A dot-terminated block, dot-unstuffed, each line with its CRLF."""
        lines = []
        while (line := await self.line()) != b".":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(line + b"\r\n" for line in lines)

    def write(self, octets: bytes) -> None:
        """Send, without waiting for anything."""
        self.writer.write(octets)

    async def close(self) -> None:
        """Close without a goodbye."""
        self.writer.close()
        try:
            async with asyncio.timeout(self.seconds_max):
                await self.writer.wait_closed()
        except (OSError, TimeoutError):
            self.writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class SmtpClient(Client):
    """RFC 5321."""

    greeting_ok = (b"220",)

    async def command(self, line: str, *expected: int) -> bytes:
        """Send a line, read the reply (all its lines). Raises Refused when its code is not among `expected`."""
        self.write(line.encode() + b"\r\n")
        return await self.reply(*expected)

    async def reply(self, *expected: int) -> bytes:
        """Read one reply."""
        lines = [await self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(await self.line())
        text = b"\n".join(lines)
        if expected and int(lines[-1][:3]) not in expected:
            raise Refused(text.decode("utf-8", "replace"))
        return text

    async def read_greeting(self) -> bytes:
        return await self.reply(220)

    async def send(self, sender: str, recipients: list[str], octets: bytes) -> bytes:
        """One whole transaction; the reply to the message."""
        await self.command(f"MAIL FROM:<{sender}>", 250)
        for recipient in recipients:
            await self.command(f"RCPT TO:<{recipient}>", 250)
        await self.command("DATA", 354)
        stuffed = octets.replace(b"\r\n.", b"\r\n..")
        self.write((b"." + stuffed if stuffed.startswith(b".") else stuffed) + b".\r\n")
        return await self.reply(250)

    async def hello(self) -> bytes:
        """EHLO."""
        return await self.command("EHLO client.test", 250)


class Pop3Client(Client):
    """RFC 1939."""

    greeting_ok = (b"+OK",)

    async def command(self, line: str) -> bytes:
        """Send a line and read the first line of the answer. Raises Refused for -ERR."""
        self.write(line.encode() + b"\r\n")
        answer = await self.line()
        if not answer.startswith(b"+OK"):
            raise Refused(answer.decode("utf-8", "replace"))
        return answer

    async def login(self, user: str, password: str) -> None:
        await self.command(f"USER {user}")
        await self.command(f"PASS {password}")

    async def retrieve(self, number: int) -> bytes:
        """RETR: the message."""
        await self.command(f"RETR {number}")
        return await self.block()


class ImapClient(Client):
    """RFC 9051; enough of it to log in, select, fetch whole messages and append."""

    greeting_ok = (b"* OK", b"* PREAUTH")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds_max: float) -> None:
        super().__init__(reader, writer, seconds_max)
        self._tag = 0

    async def command(self, line: str) -> list[bytes]:
        """Send a command; its untagged responses (literals within them). Raises Refused for NO and BAD."""
        self._tag += 1
        tag = f"c{self._tag}".encode()
        self.write(tag + b" " + line.encode() + b"\r\n")
        return await self.responses(tag)

    async def responses(self, tag: bytes) -> list[bytes]:
        """Read up to the tagged response."""
        untagged: list[bytes] = []
        while True:
            response = await self._response()
            if response.startswith(tag + b" "):
                if not response.startswith(tag + b" OK"):
                    raise Refused(response.decode("utf-8", "replace"))
                return untagged
            untagged.append(response)

    async def _response(self) -> bytes:
        response = await self.line()
        while response.endswith(b"}"):
            size = response[response.rindex(b"{") + 1 : -1]
            if not size.isdigit():
                break
            async with asyncio.timeout(self.seconds_max):
                literal = await self.reader.readexactly(int(size))
            response += b"\r\n" + literal + await self.line()
        return response

    async def login(self, user: str, password: str) -> None:
        await self.command(f'LOGIN "{user}" "{password}"')

    async def fetch_body(self, number: int) -> bytes:
        """FETCH BODY.PEEK[]: the message."""
        for response in await self.command(f"FETCH {number} BODY.PEEK[]"):
            head, brace, rest = response.partition(b"{")
            if brace and b"FETCH" in head:
                size, _, literal = rest.partition(b"}\r\n")
                return literal[: int(size)]
        raise Refused(f"no message {number}")

    async def append(self, folder: str, octets: bytes) -> None:
        """APPEND with a synchronizing literal."""
        self._tag += 1
        tag = f"c{self._tag}".encode()
        self.write(tag + f' APPEND "{folder}" {{{len(octets)}}}\r\n'.encode())
        answer = await self.line()
        if not answer.startswith(b"+"):
            raise Refused(answer.decode("utf-8", "replace"))
        self.write(octets + b"\r\n")
        await self.responses(tag)

    async def authenticate_plain(self, user: str, password: str) -> None:
        """AUTHENTICATE PLAIN (RFC 4616), in two steps."""
        self._tag += 1
        tag = f"c{self._tag}".encode()
        self.write(tag + b" AUTHENTICATE PLAIN\r\n")
        await self.line()
        self.write(base64.b64encode(f"\0{user}\0{password}".encode()) + b"\r\n")
        await self.responses(tag)


class NntpClient(Client):
    """RFC 3977."""

    greeting_ok = (b"200", b"201")

    async def command(self, line: str, *expected: int) -> bytes:
        """Send a line and read the status line. Raises Refused."""
        self.write(line.encode() + b"\r\n")
        answer = await self.line()
        if expected and int(answer[:3]) not in expected:
            raise Refused(answer.decode("utf-8", "replace"))
        return answer

    async def login(self, user: str, password: str) -> None:
        await self.command(f"AUTHINFO USER {user}", 281, 381)
        await self.command(f"AUTHINFO PASS {password}", 281)

    async def article(self, name: str) -> bytes:
        """ARTICLE by number (in the current group) or Message-ID."""
        await self.command(f"ARTICLE {name}", 220)
        return await self.block()

    async def post(self, octets: bytes) -> bytes:
        """POST; the last answer."""
        await self.command("POST", 340)
        stuffed = octets.replace(b"\r\n.", b"\r\n..")
        self.write((b"." + stuffed if stuffed.startswith(b".") else stuffed) + b".\r\n")
        answer = await self.line()
        if not answer.startswith(b"240"):
            raise Refused(answer.decode("utf-8", "replace"))
        return answer
