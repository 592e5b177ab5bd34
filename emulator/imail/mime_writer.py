"""Writing MIME: entities with their content fields, transfer encodings and boundaries (RFC 2045, RFC 2046)."""

from __future__ import annotations

import enum
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from protocols.mime import transfer
from protocols.mime.parameters import encode_parameter

LINE_OCTETS_MAX: Final = 998
"""RFC 5322 section 2.1.1, without the CRLF."""

_LONE_LINE_END: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]\Z")

Field = tuple[bytes, bytes]


class Allow(enum.Flag):
    """What the receiver of generated MIME can take beyond 7-bit lines."""

    SEVEN_BIT = 0
    EIGHT_BIT_MIME = enum.auto()
    """RFC 6152."""
    BINARY_MIME = enum.auto()
    """RFC 3030."""
    UTF8 = enum.auto()
    """RFC 6531: UTF-8 in header fields."""


@dataclass(slots=True)
class Entity:
    """A MIME entity that is going to be written: a leaf with its encoded `data`, or a multipart with `children`."""

    media_type: str
    params: list[tuple[str, str]] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    """Content fields beyond Content-Type and Content-Transfer-Encoding; values are folded octets."""
    encoding: str = "7bit"
    data: bytes = b""
    children: list[Entity] | None = None
    content_type: bytes | None = None
    """A Content-Type value to be used as it is."""
    boundary: str = ""
    """A boundary that would be liked; it is not used where it stands in the content."""
    preamble: bytes = b""
    raw: bytes | None = None
    """The octets that `data` encodes."""
    header: bytes | None = None
    """The whole header of a part that is copied, with its blank line."""

    def add(self, name: bytes, value: bytes) -> None:
        """One more content field."""
        self.fields.append((name, value))

    def content_fields(self) -> list[Field]:
        """All content fields, for a header. A multipart must have been rendered before."""
        value = self.content_type
        if value is None:
            value = format_value(self.media_type.encode("ascii", "replace"), self.params, len("Content-Type: "))
        found = [(b"Content-Type", value)]
        if self.encoding != "7bit":
            found.append((b"Content-Transfer-Encoding", self.encoding.encode("ascii")))
        return found + self.fields

    def part_header(self) -> bytes:
        """The header as that of a part in a multipart, with its blank line."""
        if self.header is None:
            return join_fields(self.content_fields()) + b"\r\n"
        if self.header in {b"\r\n", b"\n"} or self.header.endswith((b"\n\r\n", b"\n\n")):
            return self.header
        return self.header + (b"\r\n" if self.header.endswith(b"\n") or not self.header else b"\r\n\r\n")

    def render(self) -> list[bytes]:
        """Octets of the body, in pieces; a multipart chooses its boundary."""
        if self.children is None:
            return [self.data]
        bodies = [child.render() for child in self.children]
        boundary = self._choose_boundary(bodies)
        mark = b"--" + boundary.encode("ascii")
        pieces = [self.preamble] if self.preamble else []
        for index, (child, body) in enumerate(zip(self.children, bodies, strict=True)):
            pieces.append((b"\r\n" if index or pieces else b"") + mark + b"\r\n")
            pieces.append(child.part_header())
            pieces += body
        pieces.append((b"\r\n" if pieces else b"") + mark + b"--\r\n")
        return pieces

    def _choose_boundary(self, bodies: list[list[bytes]]) -> str:
        encodings = {child.encoding for child in self.children or ()}
        self.encoding = "binary" if "binary" in encodings else "8bit" if "8bit" in encodings else "7bit"
        liked = self.boundary
        if liked and _BOUNDARY.match(liked) and not stands_in(b"--" + liked.encode("ascii"), bodies):
            chosen = liked
        else:
            digest = hashlib.blake2b(digest_size=15)
            for body in bodies:
                for piece in body:
                    digest.update(piece)
            # "=_" occurs neither in base64 nor in quoted-printable
            chosen = "=_" + digest.hexdigest()
            self.content_type = None
        self.params = [item for item in self.params if item[0] != "boundary"] + [("boundary", chosen)]
        return chosen


def stands_in(mark: bytes, bodies: list[list[bytes]]) -> bool:
    """Whether `mark` occurs in one of the pieces, or across two of them."""
    return any(mark in b"".join(body) for body in bodies)


def join_fields(fields: list[Field]) -> bytes:
    """Header octets of fields, without the blank line. A value that is kept brings its own blank behind the colon."""
    return b"".join([name + (b": " if value[:1].strip() else b":") + value + b"\r\n" for name, value in fields])


def format_value(word: bytes, params: list[tuple[str, str]], used: int) -> bytes:
    """A structured field body with parameters, folded (RFC 2045 section 5.1)."""
    out = [word]
    used += len(word)
    for name, value in params:
        for piece in encode_parameter(name, value):
            if used + 3 + len(piece) > 78:
                out.append(b";\r\n\t" + piece)
                used = 8 + len(piece)
            else:
                out.append(b"; " + piece)
                used += 2 + len(piece)
    return b"".join(out)


def has_short_lines(octets: bytes) -> bool:
    """Whether all lines fit into LINE_OCTETS_MAX."""
    if len(octets) <= LINE_OCTETS_MAX:
        return True
    position = 0
    while position + LINE_OCTETS_MAX < len(octets):
        newline = octets.rfind(b"\n", position, position + LINE_OCTETS_MAX + 2)
        if newline < 0:
            return False
        position = newline + 1
    return True


def is_lines(octets: bytes) -> bool:
    """Whether the octets are CRLF-ended lines that may travel without encoding, 7-bit or not."""
    return b"\0" not in octets and has_short_lines(octets) and not _LONE_LINE_END.search(octets)


def encode_leaf(octets: bytes, allow: Allow, *, text: bool, closed: bool, liked: str = "") -> tuple[str, bytes]:
    """(encoding, encoded octets) of a leaf.

    `text`: readable encodings are preferred. `closed`: what follows is the end of the message, so the encoded octets
    have to end with CRLF. `liked`: an encoding to be used where it can be.
    """
    ended = not closed or not octets or octets.endswith(b"\r\n")
    if liked in {"7bit", "8bit", ""} and ended and is_lines(octets) and (text or liked):
        if octets.isascii():
            return "7bit", octets
        if allow & (Allow.EIGHT_BIT_MIME | Allow.BINARY_MIME):
            return "8bit", octets
    if liked == "binary" and allow & Allow.BINARY_MIME and not closed:
        return "binary", octets
    if liked == "quoted-printable" or (text and liked != "base64" and _mostly_ascii(octets)):
        lines = not _LONE_LINE_END.search(octets)
        encoded = transfer.encode_quoted_printable(octets, text=lines)
        if closed and encoded and not encoded.endswith(b"\r\n"):
            encoded += b"=\r\n"
        return "quoted-printable", encoded
    encoded = transfer.encode_base64(octets)
    return "base64", encoded if closed else encoded.removesuffix(b"\r\n")


def _mostly_ascii(octets: bytes) -> bool:
    sample = octets if len(octets) < 65536 else octets[:32768] + octets[-32768:]
    return len(sample) - len(sample.translate(None, _NOT_PRINTABLE)) <= len(sample) // 5


_NOT_PRINTABLE: Final = bytes(octet for octet in range(256) if not 32 <= octet < 127 and octet not in b"\t\r\n")
