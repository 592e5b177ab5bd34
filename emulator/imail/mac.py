"""Macintosh files: AppleSingle, AppleDouble (RFC 1740), BinHex 4.0 (RFC 1741) and MacBinary."""

from __future__ import annotations

import binascii
import re
import struct
from dataclasses import dataclass
from typing import Final

from protocols.mime.charsets import decode_text

MACBINARY_OID: Final = bytes((0x2A, 0x86, 0x48, 0x86, 0xF7, 0x14, 0x03, 0x0B, 0x01))
"""Value of PR_ATTACH_ENCODING for MacBinary data (MS-OXCMSG section 2.2.2.20)."""

_APPLESINGLE: Final = 0x00051600
_APPLEDOUBLE: Final = 0x00051607
_ENTRY_DATA, _ENTRY_RESOURCE, _ENTRY_NAME, _ENTRY_FINDER = 1, 2, 3, 9
_WANTED: Final = frozenset({_ENTRY_DATA, _ENTRY_RESOURCE, _ENTRY_NAME, _ENTRY_FINDER})
_HEADER: Final = struct.Struct(">II16xH")
_ENTRY: Final = struct.Struct(">III")
_HQX: Final = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HQX_TO_BASE64: Final = bytes.maketrans(_HQX, _BASE64)
_NOT_HQX: Final = bytes(octet for octet in range(256) if octet not in _HQX)
_HQX_START: Final = re.compile(rb"(?:^|\n)[ \t]*:")
_RUN: Final = re.compile(rb"\x90((?s:.))")
_BINHEX_HEAD: Final = struct.Struct(">4s4sHII")


@dataclass(frozen=True, slots=True)
class MacFile:
    """A file with its two forks."""

    name: str = ""
    data: bytes = b""
    resource: bytes = b""
    type: bytes = b""
    creator: bytes = b""


def read_apple(octets: bytes) -> MacFile | None:
    """An AppleSingle or AppleDouble file, or None where it is neither. Entries that lie outside are passed over."""
    if len(octets) < _HEADER.size:
        return None
    magic, _, count = _HEADER.unpack_from(octets)
    if magic not in {_APPLESINGLE, _APPLEDOUBLE}:
        return None
    entries: dict[int, bytes] = {}
    for index in range(count):
        at = _HEADER.size + index * _ENTRY.size
        if at + _ENTRY.size > len(octets):
            break
        kind, offset, size = _ENTRY.unpack_from(octets, at)
        if kind in _WANTED and offset + size <= len(octets) and kind not in entries:
            entries[kind] = octets[offset : offset + size]
    finder = entries.get(_ENTRY_FINDER, b"")
    return MacFile(
        decode_text(entries.get(_ENTRY_NAME, b""), "macintosh").replace("\0", ""),
        entries.get(_ENTRY_DATA, b""),
        entries.get(_ENTRY_RESOURCE, b""),
        finder[:4],
        finder[4:8],
    )


def write_appledouble(file: MacFile) -> bytes:
    """The header file of AppleDouble: name, Finder information and resource fork, without the data fork."""
    finder = file.type.ljust(4, b"\0")[:4] + file.creator.ljust(4, b"\0")[:4] + bytes(24)
    parts = [(_ENTRY_NAME, file.name.encode("mac_roman", "replace")), (_ENTRY_FINDER, finder)]
    parts.append((_ENTRY_RESOURCE, file.resource))
    offset = _HEADER.size + len(parts) * _ENTRY.size
    head = [_HEADER.pack(_APPLEDOUBLE, 0x00020000, len(parts))]
    for kind, body in parts:
        head.append(_ENTRY.pack(kind, offset, len(body)))
        offset += len(body)
    return b"".join(head + [body for _, body in parts])


def read_binhex(octets: bytes, decoded_octets_max: int = 1 << 25) -> MacFile | None:
    """A BinHex 4.0 file, or None where there is none. Never raises, always ends (KB Q170060 tells of one that did not).

    Checksums are not insisted on; forks that are cut short are given as far as they go. One that grows to more than
    four times its size and `decoded_octets_max` is none: its runs are a trap.
    """
    start = _HQX_START.search(octets)
    if start is None:
        return None
    end = octets.find(b":", start.end())
    text = octets[start.end() : end if end >= 0 else len(octets)].translate(None, _NOT_HQX)
    text = text[: len(text) - (len(text) % 4 == 1)].translate(_HQX_TO_BASE64)
    packed = binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    plain = _expand(packed, max(decoded_octets_max, 4 * len(packed)))
    if not plain or plain[0] > 63 or len(plain) < plain[0] + 2 + _BINHEX_HEAD.size:
        return None
    size = plain[0]
    name = decode_text(plain[1 : 1 + size], "macintosh")
    kind, creator, _, data_size, resource_size = _BINHEX_HEAD.unpack_from(plain, size + 2)
    at = size + 2 + _BINHEX_HEAD.size + 2
    data = plain[at : at + data_size]
    resource = plain[at + data_size + 2 : at + data_size + 2 + resource_size]
    return MacFile(name, data, resource, kind, creator)


def _expand(packed: bytes, decoded_octets_max: int) -> bytes:
    """Run-length decoding: 0x90 and a count repeat the octet before, a count of zero means 0x90 itself.

    Nothing where it grows beyond the limit.
    """
    out = bytearray()
    position = 0
    for match in _RUN.finditer(packed):
        out += packed[position : match.start()]
        count = match[1][0]
        if count == 0:
            out.append(0x90)
        elif out:
            out += out[-1:] * (count - 1)
        position = match.end()
        if len(out) > decoded_octets_max:
            return b""
    out += packed[position:]
    return bytes(out)


def write_binhex(file: MacFile) -> bytes:
    """A BinHex 4.0 text with CRLF line ends."""
    name = file.name.encode("mac_roman", "replace")[:63]
    head = bytes((len(name),)) + name + b"\0"
    head += _BINHEX_HEAD.pack(file.type.ljust(4)[:4], file.creator.ljust(4)[:4], 0, len(file.data), len(file.resource))
    plain = b"".join(
        part + binascii.crc_hqx(part + b"\0\0", 0).to_bytes(2, "big") for part in (head, file.data, file.resource)
    )
    packed = plain.replace(b"\x90", b"\x90\0")
    text = binascii.b2a_base64(packed, newline=False).rstrip(b"=").translate(bytes.maketrans(_BASE64, _HQX))
    text = b":" + text + b":"
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\r\n".join([b"(This file must be converted with BinHex 4.0)", b"", *lines, b""])
