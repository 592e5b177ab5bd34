"""What changes the stream under an IMAP dialogue: COMPRESS, STARTTLS, and SCRAM bound to TLS."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
import zlib
from typing import Any

SECONDS_MAX = 30


class Peer:
    """A client that reads lines, compressed or not."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.out: Any = None
        self.inflate: Any = None
        self.plain = b""

    @classmethod
    async def connect(cls, server: Any) -> Peer:
        peer = cls(*await asyncio.open_connection(*server.addresses["imap"]))
        await peer.line()
        return peer

    def send(self, octets: bytes) -> None:
        if self.out is not None:
            octets = self.out.compress(octets) + self.out.flush(zlib.Z_SYNC_FLUSH)
        self.writer.write(octets)

    def start_compression(self) -> None:
        self.out = zlib.compressobj(wbits=-15)
        self.inflate = zlib.decompressobj(wbits=-15)

    async def line(self) -> bytes:
        async with asyncio.timeout(SECONDS_MAX):
            while b"\r\n" not in self.plain:
                octets = await self.reader.read(65536)
                assert octets, "the server closed the connection"
                self.plain += self.inflate.decompress(octets) if self.inflate else octets
        line, _, self.plain = self.plain.partition(b"\r\n")
        return line

    async def command(self, tag: bytes, text: bytes) -> list[bytes]:
        self.send(tag + b" " + text + b"\r\n")
        lines = [await self.line()]
        while not lines[-1].startswith(tag + b" "):
            lines.append(await self.line())
        return lines

    def close(self) -> None:
        self.writer.transport.abort()


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def test_compress(start_server: Any) -> None:
    """RFC 4978: both directions are DEFLATE from behind the OK on, once."""
    server = await start_server(users=["alice:secret"])
    peer = await Peer.connect(server)
    assert (await peer.command(b"a", b"COMPRESS DEFLATE"))[-1].startswith(b"a BAD")
    await peer.command(b"b", b"LOGIN alice secret")
    assert (await peer.command(b"c", b"COMPRESS GZIP"))[-1].startswith(b"c BAD")
    assert (await peer.command(b"d", b"COMPRESS"))[-1].startswith(b"d BAD")
    assert await peer.command(b"e", b"COMPRESS DEFLATE") == [b"e OK DEFLATE active"]
    peer.start_compression()
    assert (await peer.command(b"f", b"COMPRESS DEFLATE"))[-1].startswith(b"f BAD [COMPRESSIONACTIVE]")
    assert b"COMPRESS=DEFLATE" not in (await peer.command(b"g", b"CAPABILITY"))[0]
    body = b"x" * 300_000
    assert (
        b" OK " in (await peer.command(b"h", b"APPEND INBOX {%d+}\r\n%b" % (len(body) + 8, b"a: b\r\n\r\n" + body)))[-1]
    )
    await peer.command(b"i", b"SELECT INBOX")
    assert (await peer.command(b"j", b"FETCH 1 RFC822.TEXT"))[1] == body + b" FLAGS (\\Seen \\Recent))"
    assert await peer.command(b"k", b"UNAUTHENTICATE") == [b"k OK UNAUTHENTICATE completed"]
    assert (await peer.command(b"l", b"LOGIN alice secret"))[-1].startswith(b"l OK")
    peer.close()


async def test_starttls_forgets_what_came_in_the_open(start_server: Any) -> None:
    """RFC 9051 section 6.2.1; CVE-2011-0411."""
    server = await start_server(users=["alice:secret"], plaintext_login=False)
    peer = await Peer.connect(server)
    before = (await peer.command(b"a", b"CAPABILITY"))[0].split()
    assert {b"STARTTLS", b"LOGINDISABLED"} <= set(before)
    peer.send(b"b STARTTLS\r\nc LOGIN alice secret\r\n")
    assert (await peer.line()).startswith(b"b OK")
    assert not peer.plain
    await peer.writer.start_tls(trusting())
    after = (await peer.command(b"d", b"CAPABILITY"))[0].split()
    assert b"STARTTLS" not in after
    assert b"LOGINDISABLED" not in after
    assert b"AUTH=PLAIN" in after
    assert (await peer.command(b"e", b"STARTTLS"))[-1].startswith(b"e BAD")
    assert (await peer.command(b"f", b"LOGIN alice secret"))[-1].startswith(b"f OK")
    peer.close()


def _scram(exchange: bytes, first: bytes, challenge: bytes, gs2: bytes) -> tuple[bytes, bytes]:
    """The client's last message and the server's signature that it expects (RFC 5802 section 3)."""
    fields = dict(item.split(b"=", 1) for item in challenge.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", exchange, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    bare = b"c=" + base64.b64encode(gs2) + b",r=" + fields[b"r"]
    auth = b",".join((first, challenge, bare))
    signature = hmac.digest(hashlib.sha256(key).digest(), auth, "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth, "sha256")
    return bare + b",p=" + base64.b64encode(proof), b"v=" + base64.b64encode(expected)


async def test_scram_in_the_dialogue(start_server: Any) -> None:
    """RFC 5802, RFC 7677: the server proves that it knows the password, too; with and without an initial response."""
    server = await start_server(users=["alice:secret"])
    first = b"n=alice,r=fyko+d2lbbFgONRv9qkxdawL"
    for initial in (True, False):
        peer = await Peer.connect(server)
        encoded = base64.b64encode(b"n,," + first)
        if initial:
            peer.send(b"a AUTHENTICATE SCRAM-SHA-256 " + encoded + b"\r\n")
        else:
            peer.send(b"a AUTHENTICATE SCRAM-SHA-256\r\n")
            assert (await peer.line()).strip() == b"+"
            peer.send(encoded + b"\r\n")
        challenge = base64.b64decode((await peer.line())[2:])
        last, expected = _scram(b"secret", first, challenge, b"n,,")
        peer.send(base64.b64encode(last) + b"\r\n")
        assert base64.b64decode((await peer.line())[2:]) == expected
        peer.send(b"\r\n")
        assert (await peer.line()).startswith(b"a OK")
        peer.close()
