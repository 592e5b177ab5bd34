"""The form in which a body lies in the data directory.

A message that nobody changed is kept as the octets that came in; its properties are found again by inbound conversion.
One whose properties were changed is kept as its property bag. Both are compressed where it pays.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.ports import Unavailable

if TYPE_CHECKING:
    from emulator.content import Content
    from emulator.properties import PropertyMessage

OCTETS, PROPERTIES = 0, 1
COMPRESSED = 2
"""Added to the form of what went through zlib."""

_COMPRESS_FROM_OCTETS = 512
_SAMPLE_OCTETS = 16384
_PAYS_BELOW = 0.9
_LEVEL = 1
_DECOMPRESSED_OCTETS_MAX = 1 << 30


def pack(message: PropertyMessage) -> tuple[int, int, bytes]:
    """(form, checksum, body) of a message."""
    if not message.modified:
        return pack_octets(message.octets)
    form, checksum, body = pack_octets(message.to_bytes())
    return form | PROPERTIES, checksum, body


def pack_octets(plain: bytes) -> tuple[int, int, bytes]:
    """(form, checksum, body) of octets."""
    body = _compress(plain)
    return OCTETS if body is plain else COMPRESSED, zlib.crc32(body), body


def _compress(plain: bytes) -> bytes:
    """`plain` itself where compressing does not save a tenth: pictures and the like, found by their beginning."""
    if len(plain) < _COMPRESS_FROM_OCTETS:
        return plain
    if len(plain) > 2 * _SAMPLE_OCTETS:
        sample = memoryview(plain)[:_SAMPLE_OCTETS]
        if len(zlib.compress(sample, _LEVEL)) > _PAYS_BELOW * _SAMPLE_OCTETS:
            return plain
    packed = zlib.compress(plain, _LEVEL)
    return packed if len(packed) < _PAYS_BELOW * len(plain) else plain


def plain_body(form: int, checksum: int, body: bytes) -> bytes:
    """The body as it was before compression. Raises ValueError when it is damaged."""
    if zlib.crc32(body) != checksum:
        raise ValueError("the checksum of the body is wrong")
    if form & COMPRESSED:
        inflate = zlib.decompressobj()
        try:
            plain = inflate.decompress(body, _DECOMPRESSED_OCTETS_MAX)
        except zlib.error as error:
            raise ValueError(f"the body cannot be decompressed: {error}") from None
        if not inflate.eof:
            raise ValueError("the body is cut short")
        return plain
    return body


def readable_part(form: int, body: bytes) -> bytes:
    """As much of a damaged body as can be decompressed: a whole message perhaps, its beginning, or nothing."""
    if not form & COMPRESSED:
        return body
    inflate = zlib.decompressobj()
    plain = bytearray()
    try:
        for start in range(0, len(body), 64):
            plain += inflate.decompress(body[start : start + 64], _DECOMPRESSED_OCTETS_MAX - len(plain))
    except (zlib.error, ValueError):
        pass
    return bytes(plain)


@dataclass(frozen=True, slots=True)
class Codec:
    """How a message is made again."""

    from_octets: Callable[[bytes], PropertyMessage]
    """Inbound conversion, for what nobody changed."""
    from_properties: Callable[[bytes], PropertyMessage]
    """The inverse of `PropertyMessage.to_bytes`."""


def default_codec() -> Codec:
    """The real conversion."""
    # Here, because checking and repairing a directory needs none of the conversion's modules.
    from emulator import imail  # noqa: PLC0415
    from emulator.properties import PropertyMessage  # noqa: PLC0415

    return Codec(imail.inbound, PropertyMessage.from_bytes)


def unpack(codec: Codec, content: Content, form: int, checksum: int, body: bytes) -> PropertyMessage:
    """The message again. Raises Unavailable when the body is damaged."""
    try:
        plain = plain_body(form, checksum, body)
        return codec.from_properties(plain) if form & PROPERTIES else codec.from_octets(plain)
    except ValueError as error:
        name = content.digest.hex()[:16]
        raise Unavailable(f"content {name} is damaged ({error}): stop and run mailjam check --repair") from None
