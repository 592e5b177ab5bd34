"""TNEF streams as sequences of attributes (MS-OXTNEF section 2.1): read and written octet for octet."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

SIGNATURE: Final = 0x223E9F78
LEVEL_MESSAGE: Final = 1
LEVEL_ATTACHMENT: Final = 2

ATT_TNEF_VERSION: Final = 0x00089006
ATT_OEM_CODEPAGE: Final = 0x00069007
ATT_MESSAGE_CLASS: Final = 0x00078008
ATT_ORIGINAL_MESSAGE_CLASS: Final = 0x00070600
ATT_FROM: Final = 0x00008000
ATT_SUBJECT: Final = 0x00018004
ATT_DATE_SENT: Final = 0x00038005
ATT_DATE_RECEIVED: Final = 0x00038006
ATT_MESSAGE_STATUS: Final = 0x00068007
ATT_MESSAGE_ID: Final = 0x00018009
ATT_BODY: Final = 0x0002800C
ATT_PRIORITY: Final = 0x0004800D
ATT_DATE_MODIFIED: Final = 0x00038020
ATT_MSG_PROPS: Final = 0x00069003
ATT_RECIP_TABLE: Final = 0x00069004
ATT_ATTACH_REND_DATA: Final = 0x00069002
ATT_ATTACH_TITLE: Final = 0x00018010
ATT_ATTACH_DATA: Final = 0x0006800F
ATT_ATTACH_META_FILE: Final = 0x00068011
ATT_ATTACH_CREATE_DATE: Final = 0x00038012
ATT_ATTACH_MODIFY_DATE: Final = 0x00038013
ATT_ATTACH_TRANSPORT_NAME: Final = 0x00069001
ATT_ATTACHMENT: Final = 0x00069005

ATTRIBUTES_MAX: Final = 20_000

_HEAD: Final = struct.Struct("<IH")
_ATTRIBUTE: Final = struct.Struct("<BII")
_SUM: Final = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute with the checksum that stood in the stream."""

    level: int
    identifier: int
    data: bytes
    checksum: int

    @property
    def intact(self) -> bool:
        """Whether the checksum is right."""
        return self.checksum == checksum(self.data)


def checksum(data: bytes) -> int:
    """Sum of the octets modulo 65536 (MS-OXTNEF section 2.1.3.1)."""
    return sum(data) & 0xFFFF


def attribute(level: int, identifier: int, data: bytes) -> Attribute:
    """An attribute with the right checksum."""
    return Attribute(level, identifier, data, checksum(data))


@dataclass(slots=True)
class TnefStream:
    """Attributes in order, and what stands behind them and is none."""

    key: int = 0
    attributes: list[Attribute] = field(default_factory=list)
    trailer: bytes = b""

    def to_bytes(self) -> bytes:
        """The stream; for one that was read, the octets that were read."""
        parts = [_HEAD.pack(SIGNATURE, self.key)]
        for item in self.attributes:
            parts += [
                _ATTRIBUTE.pack(item.level, item.identifier, len(item.data)),
                item.data,
                _SUM.pack(item.checksum),
            ]
        parts.append(self.trailer)
        return b"".join(parts)

    def first(self, identifier: int, level: int = LEVEL_MESSAGE) -> bytes | None:
        """Data of the first attribute of this kind."""
        return next((i.data for i in self.attributes if i.identifier == identifier and i.level == level), None)


def read_stream(octets: bytes) -> TnefStream | None:
    """The attributes up to the first thing that is none, or None where there is no TNEF signature."""
    if len(octets) < _HEAD.size:
        return None
    signature, key = _HEAD.unpack_from(octets)
    if signature != SIGNATURE:
        return None
    stream = TnefStream(key)
    position = _HEAD.size
    while position + _ATTRIBUTE.size + 2 <= len(octets) and len(stream.attributes) < ATTRIBUTES_MAX:
        level, identifier, size = _ATTRIBUTE.unpack_from(octets, position)
        start = position + _ATTRIBUTE.size
        if level not in {LEVEL_MESSAGE, LEVEL_ATTACHMENT} or size > len(octets) - start - 2:
            break
        data = octets[start : start + size]
        stream.attributes.append(Attribute(level, identifier, data, _SUM.unpack_from(octets, start + size)[0]))
        position = start + size + 2
    stream.trailer = octets[position:]
    return stream


def write_stream(attributes: Sequence[Attribute], key: int = 1) -> bytes:
    """A stream of these attributes."""
    return TnefStream(key, list(attributes)).to_bytes()
