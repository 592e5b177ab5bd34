"""Messages for hosts that take less than we do: bodies are recoded (RFC 3030 section 3, RFC 6152 section 3).

Only bodies that the next host could not take are touched, with the header field that says how they are encoded; all
other octets stay as they are. A signature over a recoded body no longer holds, which is why nothing is recoded without
need.
"""

from __future__ import annotations

import re

from protocols.mime.structure import Part, parse
from protocols.mime.transfer import encode_base64, encode_quoted_printable

LINE_OCTETS_MAX = 998
"""RFC 5322 section 2.1.1, without the line end."""
_PLAIN_ENCODINGS = frozenset({"", "7bit", "8bit", "binary"})

SEVEN_BIT, EIGHT_BIT = "7bit", "8bit"


class CannotDowngrade(Exception):
    """The message has binary octets where nothing can be encoded; the text says where."""


def is_lines(octets: bytes) -> bool:
    """Whether these are lines as SMTP's DATA carries them: CRLF alone, no NUL, not too long."""
    return _has_line_ends(octets) and all(len(line) <= LINE_OCTETS_MAX + 1 for line in octets.split(b"\n"))


def _has_line_ends(octets: bytes) -> bool:
    pairs = octets.count(b"\r\n")
    return pairs == octets.count(b"\r") == octets.count(b"\n") and b"\0" not in octets


def downgrade(octets: bytes, to: str, part: Part | None = None) -> bytes:
    """The message with nothing in it that a host of `to` (SEVEN_BIT or EIGHT_BIT) does not take.

    Header fields are left alone: 8-bit octets in them are SMTPUTF8's affair. Raises CannotDowngrade.
    """
    edits: list[tuple[int, int, bytes]] = []
    _visit(part if part is not None else parse(octets), to, edits)
    pieces, at = [], 0
    for start, end, replacement in sorted(edits):
        pieces += [octets[at:start], replacement]
        at = end
    changed = b"".join([*pieces, octets[at:]])
    if not is_lines(changed):
        raise CannotDowngrade("binary octets outside the bodies of its parts")
    return changed


def _visit(root: Part, to: str, edits: list[tuple[int, int, bytes]]) -> None:
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.children or part.message is not None:
            waiting += [part.message] if part.message is not None else part.children
            _relabel(part, to, edits)
            _clean_between(part, to, edits)
        elif not _fits(part.body, to):
            _recode(part, edits)
        else:
            _relabel(part, to, edits)


def _fits(body: bytes, to: str) -> bool:
    return (to == EIGHT_BIT or body.isascii()) and is_lines(body)


def _relabel(part: Part, to: str, edits: list[tuple[int, int, bytes]]) -> None:
    """`binary` is no longer true, nor `8bit` where 7-bit octets were asked for."""
    if part.encoding == "binary" or (part.encoding == "8bit" and to == SEVEN_BIT):
        _set_encoding(part, to, edits)


def _recode(part: Part, edits: list[tuple[int, int, bytes]]) -> None:
    body = part.body
    if part.encoding not in _PLAIN_ENCODINGS:
        return  # base64 or quoted-printable with foreign octets in it: the check at the end judges it
    if part.type in ("multipart", "message") and part.content_type not in _ENCODABLE:
        raise CannotDowngrade(f"a part of type {part.content_type} that cannot be encoded")  # RFC 2045 section 6.4
    whole = part.start == 0  # otherwise the line end behind the body belongs to the boundary
    if part.type == "text" and _has_line_ends(body):  # legible, and its line ends stay line ends
        name, encoded = "quoted-printable", encode_quoted_printable(body)
        if whole and not encoded.endswith(b"\r\n"):
            encoded += b"=\r\n"
    else:
        name, encoded = "base64", encode_base64(body)
        encoded = encoded if whole else encoded.removesuffix(b"\r\n")
    edits.append((part.body_start, part.end, encoded))
    _set_encoding(part, name, edits)


_ENCODABLE = frozenset({"message/delivery-status", "message/disposition-notification", "message/global"})
"""Types below `message` whose definition allows any encoding (RFC 6533, RFC 6532 section 3.5), or that are read so."""


def _set_encoding(part: Part, name: str, edits: list[tuple[int, int, bytes]]) -> None:
    line = b"Content-Transfer-Encoding: " + name.encode() + b"\r\n"
    at, first = part.headers.start, True
    for field, colon, value in part.headers.raw:
        end = at + len(field) + len(colon) + len(value)
        if field.lower() == b"content-transfer-encoding":
            edits.append((at, end, line if first else b""))
            first = False
        at = end
    if first:
        version = b"" if part.start or b"mime-version" in part.headers else b"MIME-Version: 1.0\r\n"
        edits.append((part.headers.end, part.headers.end, version + line))


def _clean_between(part: Part, to: str, edits: list[tuple[int, int, bytes]]) -> None:
    """What stands before, between and after the parts of a multipart is shown to nobody: foreign octets become `?`."""
    at = part.body_start
    for child in part.children:
        _clean(part.octets, at, child.start, to, edits)
        at = child.end
    if part.children:
        _clean(part.octets, at, part.end, to, edits)


def _clean(octets: bytes, start: int, end: int, to: str, edits: list[tuple[int, int, bytes]]) -> None:
    piece = octets[start:end]
    if to == SEVEN_BIT and not piece.isascii():
        edits.append((start, end, re.sub(rb"[\x80-\xff]", b"?", piece)))
