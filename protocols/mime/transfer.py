"""Transfer encodings of untrusted bodies: base64, quoted-printable (RFC 2045 section 6), uuencode and yEnc.

Decoders never raise: what cannot be decoded is passed over or kept, as each says.
"""

from __future__ import annotations

import binascii
import re
import zlib
from dataclasses import dataclass
from itertools import compress

_NOT_BASE64 = bytes(
    octet for octet in range(256) if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
)
_NOT_BASE64_OR_PADDING = _NOT_BASE64.replace(b"=", b"")
_FILLING = (b"", b"===", b"==", b"=")
"""By the characters beyond whole groups of four; one alone says nothing."""
_NO_FILLING = bytes(octet != 0x3D for octet in range(256))
"""The first of four characters gives no octet of its own; each of the others gives one, unless it is filling."""
_BASE64_NAMES = frozenset({"base64", "base-64", "b"})
_QP_NAMES = frozenset({"quoted-printable", "quoted-printeable", "quotedprintable", "q", "qp"})
_UU_NAMES = frozenset({"x-uuencode", "uuencode", "x-uue", "uue", "x-uu"})
_YENC_NAMES = frozenset({"x-yenc", "yenc"})

BASE64_LINE_OCTETS = 76


def decode(octets: bytes, encoding: str) -> bytes:
    """The body behind a Content-Transfer-Encoding; an unknown encoding leaves the octets as they are."""
    name = encoding.lower()
    if name in _BASE64_NAMES:
        return decode_base64(octets)
    if name in _QP_NAMES:
        return decode_quoted_printable(octets)
    if name in _UU_NAMES:
        found = find_uuencoded(octets)
        return decode_uuencoded(octets, found[0]) if found else _decode_uu_lines(octets)
    if name in _YENC_NAMES:
        blocks = find_yenc(octets)
        return b"".join([decode_yenc(octets, block) for block in blocks]) if blocks else octets
    return octets


def decode_base64(octets: bytes) -> bytes:
    """Foreign characters are passed over (RFC 2045 section 6.8), missing padding is supplied, padding ends the data.

    Data after padding (two encodings glued together) is decoded as well: nothing of an attachment is lost.
    """
    try:
        decoded = binascii.a2b_base64(octets)
    except binascii.Error:
        pass
    else:
        padding = octets.find(b"=")
        if padding < 0 or not octets[padding:].translate(None, _NOT_BASE64):
            return decoded
    # every piece filled up to whole groups of four, all decoded at once, and the octets of the filling taken away
    pieces = octets.translate(None, _NOT_BASE64_OR_PADDING).split(b"=")
    filled = b"".join([piece + _FILLING[len(piece) & 3] for piece in pieces])
    decoded = binascii.a2b_base64(filled.replace(b"=", b"A"))
    kept = bytearray(filled.translate(_NO_FILLING))
    del kept[::4]
    return bytes(compress(decoded, kept))


def encode_base64(octets: bytes) -> bytes:
    """Lines of 76 characters, each ended by CRLF."""
    encoded = binascii.b2a_base64(octets, newline=False)
    lines = [encoded[at : at + BASE64_LINE_OCTETS] for at in range(0, len(encoded), BASE64_LINE_OCTETS)]
    lines.append(b"")
    return b"\r\n".join(lines)


def decode_quoted_printable(octets: bytes) -> bytes:
    """White space at line ends goes (RFC 2045 section 6.7 rule 3); an `=` that encodes nothing stays."""
    for line_end in (b"\r\n", b"\n"):
        if b" " + line_end in octets or b"\t" + line_end in octets:
            octets = line_end.join([line.rstrip(b" \t") for line in octets.split(line_end)])
    return binascii.a2b_qp(octets)


def encode_quoted_printable(octets: bytes, *, text: bool = True) -> bytes:
    """Lines of at most 76 characters. `text`: CRLFs of the input stay line ends; otherwise they are encoded."""
    encoded = binascii.b2a_qp(octets, quotetabs=False, istext=text, header=False)
    if b"=\n" in encoded:
        encoded = encoded.replace(b"=\r\n", b"=\n").replace(b"=\n", b"=\r\n")
    return encoded


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A file found in a text: `octets[start:end]` is all of it, `octets[data_start:data_end]` its encoded lines."""

    start: int
    end: int
    data_start: int
    data_end: int
    name: bytes
    size: int = -1
    """Octets it claims to have (yEnc); -1: not said."""


_UU_BEGIN = re.compile(rb"(?:^|(?<=\n))begin(?:-base64)? [0-7]{3,4} ([^\r\n]{1,1000})\r?\n")
_UU_LINE = re.compile(rb"([ -`])([ -`]{0,84})[ \t]*(\r?\n|$)")
_YENC_BEGIN = re.compile(rb"(?:^|(?<=\n))=ybegin ([^\r\n]{1,2000})\r?\n")
_YENC_PART = re.compile(rb"=ypart [^\r\n]{0,2000}\r?\n")
_YENC_SIZE = re.compile(rb"(?:^| )size=([0-9]{1,18})")
_YENC_NAME = re.compile(rb"(?:^| )name=(.*)$")
_YENC_CRC = re.compile(rb" p?crc32=([0-9A-Fa-f]{1,8})")
_YENC_ESCAPED = [bytes(((octet - 64) & 255,)) for octet in range(256)]
_YENC_TABLE = bytes((octet - 42) & 255 for octet in range(256))


def find_uuencoded(octets: bytes, start: int = 0, end: int | None = None, files_max: int = 1000) -> list[EncodedFile]:
    """Files between `begin MODE NAME` and `end`, wherever they stand in a text (POSIX uuencode). Linear.

    A `begin` line without data lines is ordinary text. A file whose `end` is missing runs as far as its lines are good.
    """
    stop = len(octets) if end is None else end
    found: list[EncodedFile] = []
    position = start
    while len(found) < files_max:
        begin = _UU_BEGIN.search(octets, position, stop)
        if begin is None:
            break
        at = begin.end()
        data_start = at
        while True:
            line = _UU_LINE.match(octets, at, stop)
            if line is None or line.end() == at:
                break
            count = (line[1][0] - 32) & 63
            if count == 0 and not line[2].strip(b" `"):
                at = line.end()
                break
            if len(line[2]) < (count * 4 + 2) // 3 - 1:
                break
            at = line.end()
        data_end = at
        if octets.startswith(b"end", at, stop) and octets[at + 3 : at + 4].strip() == b"":
            newline = octets.find(b"\n", at, min(stop, at + 6))
            at = newline + 1 if newline >= 0 else min(at + 3, stop)
        if at > data_start:
            found.append(EncodedFile(begin.start(), at, data_start, data_end, begin[1].strip()))
        position = max(at, begin.end())
    return found


def decode_uuencoded(octets: bytes, file: EncodedFile) -> bytes:
    """Data of a found file."""
    return _decode_uu_lines(octets[file.data_start : file.data_end])


def _decode_uu_lines(lines: bytes) -> bytes:
    parts = []
    for line in lines.split(b"\n"):
        data = line.rstrip(b"\r\n")
        if not data:
            continue
        count = (data[0] - 32) & 63
        try:
            parts.append(binascii.a2b_uu(data))
        except binascii.Error:
            # trailing characters, or a check octet: as many as the count needs (sendmail and others pad differently)
            try:
                parts.append(binascii.a2b_uu(data[: 1 + (count * 4 + 2) // 3]))
            except binascii.Error:
                continue
    return b"".join(parts)


def encode_uuencoded(octets: bytes, name: str) -> bytes:
    """A whole file with its `begin` and `end` lines (POSIX uuencode)."""
    label = name.encode("utf-8", "replace").translate(None, b"\r\n\0") or b"file"
    lines = [b"begin 644 " + label]
    lines.extend(binascii.b2a_uu(octets[at : at + 45], backtick=True).rstrip(b"\n") for at in range(0, len(octets), 45))
    lines += [b"`", b"end", b""]
    return b"\r\n".join(lines)


def find_yenc(octets: bytes, start: int = 0, end: int | None = None, files_max: int = 1000) -> list[EncodedFile]:
    """Files between `=ybegin` and `=yend` (yEnc 1.3). A missing `=yend` lets the file run to the end."""
    stop = len(octets) if end is None else end
    found: list[EncodedFile] = []
    position = start
    while len(found) < files_max:
        begin = _YENC_BEGIN.search(octets, position, stop)
        if begin is None:
            break
        name = _YENC_NAME.search(begin[1])
        size = _YENC_SIZE.search(begin[1])
        data_start = begin.end()
        part = _YENC_PART.match(octets, data_start, stop)
        if part is not None:
            data_start = part.end()
        data_end = octets.find(b"\n=yend", data_start - 1, stop) + 1
        if data_end == 0:
            data_end = at = stop
        else:
            newline = octets.find(b"\n", data_end, stop)
            at = newline + 1 if newline >= 0 else stop
        label = b"" if name is None else name[1].strip().strip(b'"')
        found.append(EncodedFile(begin.start(), at, data_start, data_end, label, -1 if size is None else int(size[1])))
        position = at
    return found


def decode_yenc(octets: bytes, file: EncodedFile) -> bytes:
    """Data of a found file."""
    data = octets[file.data_start : file.data_end].translate(None, b"\r\n")
    if b"=" in data:
        data = _unescape_yenc(data)
    return data.translate(_YENC_TABLE)


def _unescape_yenc(data: bytes) -> bytes:
    """The octet behind each `=` made 64 less."""
    out: list[bytes] = []
    behind_escape = False
    pieces = data.split(b"=")
    for index, piece in enumerate(pieces):
        if not behind_escape:
            out.append(piece)
            behind_escape = True
        elif piece:
            out.append(_YENC_ESCAPED[piece[0]] + piece[1:])
        elif index == len(pieces) - 1:
            out.append(b"=")  # the last octet escapes nothing
        else:  # "==": the second one is what was escaped
            out.append(_YENC_ESCAPED[0x3D])
            behind_escape = False
    return b"".join(out)


def yenc_checks(octets: bytes, file: EncodedFile, data: bytes) -> bool:
    """Whether the CRC of the `=yend` line, if it has one, is that of `data`."""
    match = _YENC_CRC.search(octets[file.data_end : file.end])
    return match is None or int(match[1], 16) == zlib.crc32(data)
