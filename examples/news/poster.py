"""Posts articles (RFC 3977 section 6.3.1). Python has no NNTP library any more; a socket does."""

from __future__ import annotations

import socket


class NotPosted(Exception):
    """The server would not take the article; the text is its reply."""


def post(address: tuple[str, int], article: bytes, *, seconds_max: float = 5.0) -> str:
    """Post; the reply. Raises NotPosted, OSError. Safe to repeat: the Message-ID keeps it from standing twice."""
    with socket.create_connection(address, timeout=seconds_max) as connection, connection.makefile("rwb") as stream:
        _expect(stream, b"200", b"201")
        stream.write(b"POST\r\n")
        stream.flush()
        _expect(stream, b"340")
        stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in article.splitlines())
        stream.write(stuffed + b".\r\n")
        stream.flush()
        reply = _expect(stream, b"240", b"441")
        if reply.startswith(b"441") and b"message-id" not in reply.lower():  # it stands there already
            raise NotPosted(reply.decode())
        return reply.decode()


def _expect(stream: object, *codes: bytes) -> bytes:
    reply: bytes = stream.readline().rstrip()  # type: ignore[attr-defined]
    if not reply:
        raise ConnectionResetError("the server went away")
    if reply[:3] not in codes:
        raise NotPosted(reply.decode("utf-8", "replace"))
    return reply


def post_surely(address: tuple[str, int], article: bytes, *, attempts: int = 3) -> str:
    """Post, again where the connection broke. Raises what the last attempt raised."""
    for attempt in range(attempts):
        try:
            return post(address, article)
        except OSError:
            if attempt == attempts - 1:
                raise
    raise AssertionError
