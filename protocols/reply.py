"""Reply values and their octets: what handlers return and only the transport writes.

A reply is octets, or a tuple of octets where a body stands between a first line and an end: the pieces reach the
transport as they are, so that a message body is not copied for each reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Reply = bytes | tuple[bytes, ...]
"""What a handler returns. `b""` says nothing."""

CRLF = b"\r\n"
DOT_END = b".\r\n"
_LONE_DOT = re.compile(rb"(?<=\n)\.(?=\r?\n)")


def stuff(octets: bytes) -> bytes:
    """Dot-stuff a body and make sure that it ends with CRLF (RFC 1939 section 3, RFC 3977 section 3.1.1).

    Lines end at CRLF only. But clients that read at LF (Python's poplib and nntplib among them) would take a lone dot
    between lone LFs for the end, and what follows for the next reply: that one gets a second dot too.
    """
    if octets and not octets.endswith(CRLF):
        octets += CRLF
    if octets.startswith(b"."):
        octets = b"." + octets
    if b"\n." in octets:
        octets = octets.replace(b"\r\n.", b"\r\n..")
        if b"\n.\n" in octets or b"\n.\r\n" in octets:
            octets = _LONE_DOT.sub(b"..", octets)
    return octets


def block(first: bytes, octets: bytes) -> Reply:
    """A status line, a body to be dot-stuffed, and the lone dot."""
    return (first, CRLF, stuff(octets), DOT_END)


def line_block(first: bytes, lines: Iterable[bytes]) -> bytes:
    """A status line, one line for each item (none of which holds CR or LF), and the lone dot."""
    body = b"\r\n".join([b"." + line if line.startswith(b".") else line for line in lines])
    return first + CRLF + (body + CRLF if body else b"") + DOT_END


def one_line(text: str, octets_max: int = 450) -> bytes:
    """Free text made safe for a reply line: control characters become `?`, the rest UTF-8, cut at `octets_max`."""
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean.encode("utf-8", "replace")[:octets_max]
