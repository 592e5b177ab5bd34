"""Compressed RTF (PR_RTF_COMPRESSED; MS-OXRTFCP)."""

from __future__ import annotations

import struct
import zlib
from typing import Final

_PREBUF: Final = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript "
    b"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
_COMPRESSED: Final = 0x75465A4C
_UNCOMPRESSED: Final = 0x414C454D
_DICTIONARY_OCTETS: Final = 4096
_BITS: Final = tuple(1 << bit for bit in range(8))
_REFERENCES: Final = struct.Struct(">8H")
_HEADER: Final = struct.Struct("<IIII")


def crc(octets: bytes) -> int:
    """The CRC of MS-OXRTFCP section 2.1.3.1.4 (CRC-32 that begins with zero and is not inverted)."""
    # zlib inverts before and after: undo both
    return zlib.crc32(octets, 0xFFFFFFFF) ^ 0xFFFFFFFF


def decompress_rtf(octets: bytes, rtf_octets_max: int = 1 << 28) -> bytes | None:
    """The RTF, or None where the octets are no compressed RTF. Damaged ones give what could be read.

    The output is bounded by the size that the header states, by 17 octets for each octet of input, and by
    `rtf_octets_max`. A wrong checksum does not matter: Outlook is not alone in writing them.
    """
    if len(octets) < _HEADER.size:
        return None
    size, raw_size, kind, _ = _HEADER.unpack_from(octets)
    end = min(size + 4, len(octets))
    limit = min(raw_size, rtf_octets_max)
    if kind == _UNCOMPRESSED:
        return octets[_HEADER.size : min(end, _HEADER.size + limit)] if end > _HEADER.size else b""
    if kind != _COMPRESSED:
        return None
    return _decompress(octets, end, limit)


def _decompress(octets: bytes, end: int, limit: int) -> bytes:
    # The whole output stands behind the prebuffer, and that behind the part of the dictionary that nothing has been
    # written to yet: offsets in the dictionary are those in the output, modulo its size.
    out = bytearray(_DICTIONARY_OCTETS) + _PREBUF
    base = size = len(out)
    position = _HEADER.size
    whole_controls_end = end - 16
    while position < end and size - base < limit:
        control = octets[position]
        position += 1
        if control == 0:
            out += octets[position : min(position + 8, end)]
            position += 8
            size = len(out)
            continue
        if control == 0xFF and position <= whole_controls_end:
            for token in _REFERENCES.unpack_from(octets, position):
                start = size - (((size & 0xFFF) - (token >> 4)) & 0xFFF)
                if start == size:
                    return bytes(out[base : base + limit])
                stop = start + (token & 15) + 2
                if stop > size:  # it reaches into what it writes itself
                    out += (out[start:] * 17)[: stop - start]
                else:
                    out += out[start:stop]
                size += stop - start
            position += 16
            continue
        for bit in _BITS:
            if position >= end:
                break
            if control & bit:
                if position + 1 >= end:
                    position = end
                    break
                low = octets[position + 1]
                start = size - (((size & 0xFFF) - (octets[position] << 4 | low >> 4)) & 0xFFF)
                position += 2
                if start == size:
                    position = end
                    break
                stop = start + (low & 15) + 2
                out += (out[start:] * 17)[: stop - start] if stop > size else out[start:stop]
                size += stop - start
            else:
                out.append(octets[position])
                position += 1
                size += 1
    return bytes(out[base : base + limit])


def compress_rtf(rtf: bytes) -> bytes:
    """The RTF compressed: greedy search for the longest match among the last places where three octets occurred."""
    body = _compress(rtf)
    return _HEADER.pack(len(body) + 12, len(rtf), _COMPRESSED, crc(body)) + body


def _compress(rtf: bytes) -> bytes:
    data = _PREBUF + rtf
    base = position = len(_PREBUF)
    places: dict[bytes, int] = {data[at : at + 3]: at for at in range(base - 2)}
    out = bytearray()
    control, bits, tokens = 0, 0, bytearray()
    ended = False
    while not ended:
        if position >= len(data):
            # the end mark: a reference to where the next octet would be written
            tokens += ((position % _DICTIONARY_OCTETS) << 4).to_bytes(2, "big")
            control |= 1 << bits
            ended = True
        else:
            key = data[position : position + 3]
            place = places.get(key, -1) if len(key) == 3 else -1
            length = 0
            # a reference never reaches the octet that is being written: that is the end mark
            if place >= 0 and position - place < _DICTIONARY_OCTETS - 17:
                length = 3
                most = min(17, len(data) - position)
                while length < most and data[place + length] == data[position + length]:
                    length += 1
                tokens += ((place % _DICTIONARY_OCTETS) << 4 | (length - 2)).to_bytes(2, "big")
                control |= 1 << bits
            else:
                length = 1
                tokens.append(data[position])
            for at in range(position, position + length):
                places[data[at : at + 3]] = at
            position += length
        bits += 1
        if bits == 8 or ended:
            out.append(control)
            out += tokens
            control, bits, tokens = 0, 0, bytearray()
    return bytes(out)


def store_rtf(rtf: bytes) -> bytes:
    """The RTF in the form that is not compressed (MS-OXRTFCP section 2.1.3.1.5)."""
    return _HEADER.pack(len(rtf) + 12, len(rtf), _UNCOMPRESSED, 0) + rtf
