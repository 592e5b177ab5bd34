"""Property messages as octets for a durable store: what was changed beside the original octets, or everything.

Values are encoded as TNEF encodes MAPI properties (MS-OXTNEF section 2.1.3.4), which `imail.tnef` shares.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final
from uuid import UUID

from .properties import Attachment, PropertyBag, PropertyMessage, Recipient, Value
from .property_tags import (
    MV_FLAG,
    PT_APPTIME,
    PT_BINARY,
    PT_BOOLEAN,
    PT_CLSID,
    PT_CURRENCY,
    PT_DOUBLE,
    PT_ERROR,
    PT_FLOAT,
    PT_I8,
    PT_LONG,
    PT_OBJECT,
    PT_SHORT,
    PT_STRING8,
    PT_SYSTIME,
    PT_UNICODE,
    Key,
    NamedProperty,
    property_type,
)

_FIXED: Final = {
    PT_SHORT: struct.Struct("<hxx"),
    PT_LONG: struct.Struct("<i"),
    PT_ERROR: struct.Struct("<I"),
    PT_FLOAT: struct.Struct("<f"),
    PT_DOUBLE: struct.Struct("<d"),
    PT_APPTIME: struct.Struct("<d"),
    PT_CURRENCY: struct.Struct("<q"),
    PT_I8: struct.Struct("<q"),
    PT_SYSTIME: struct.Struct("<Q"),
    PT_BOOLEAN: struct.Struct("<?xxx"),
}
_U32: Final = struct.Struct("<I")
_TAG: Final = struct.Struct("<HH")
_NAMED_ID: Final = 0x8000
_VARIABLE: Final = frozenset({PT_STRING8, PT_UNICODE, PT_BINARY, PT_OBJECT})


class PropertyStreamError(ValueError):
    """The octets are not what they should be."""


class StreamReader:
    """Bounded reading of little-endian values. Every method raises PropertyStreamError where octets are missing."""

    __slots__ = ("_data", "end", "position")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self._data = data
        self.position = position
        self.end = len(data) if end is None else min(end, len(data))

    def take(self, size: int) -> bytes:
        """The next `size` octets."""
        start = self.position
        if size < 0 or size > self.end - start:
            raise PropertyStreamError(f"{size} octets wanted at {start}, {self.end - start} are there")
        self.position = start + size
        return self._data[start : self.position]

    def u32(self) -> int:
        """The next unsigned 32-bit number."""
        return int(_U32.unpack(self.take(4))[0])

    def padded(self, size: int) -> bytes:
        """The next `size` octets and the padding to a multiple of four, which may be missing at the very end."""
        value = self.take(size)
        self.position = min(self.position + -size % 4, self.end)
        return value

    @property
    def left(self) -> int:
        """Octets that have not been read."""
        return self.end - self.position


def encode_value(kind: int, value: Value) -> bytes:
    """One value of a single-valued type, padded; variable ones with their length before them."""
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed.pack(value)
    if kind == PT_CLSID:
        return bytes(value.bytes_le)
    if kind == PT_UNICODE:
        data = str(value).encode("utf-16-le", "surrogatepass") + b"\0\0"
    elif kind == PT_STRING8:
        data = (value.encode("utf-8") if isinstance(value, str) else value) + b"\0"
    else:
        data = bytes(value)
    return _U32.pack(len(data)) + data + bytes(-len(data) % 4)


def decode_value(reader: StreamReader, kind: int) -> Value:
    """The inverse of `encode_value`. PT_STRING8 gives octets. Raises PropertyStreamError."""
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed.unpack(reader.take(fixed.size))[0]
    if kind == PT_CLSID:
        return UUID(bytes_le=reader.take(16))
    if kind not in _VARIABLE:
        raise PropertyStreamError(f"property type 0x{kind:04X} is unknown")
    data = reader.padded(reader.u32())
    if kind == PT_UNICODE:
        text = data.decode("utf-16-le", "replace")
        return text[:-1] if text.endswith("\0") else text
    if kind == PT_STRING8:
        return data[:-1] if data.endswith(b"\0") else data
    return data


def encode_property(key: Key, value: Value, lend_id: Callable[[NamedProperty], int]) -> bytes:
    """Tag, name (for a named property, under the identifier that `lend_id` gives) and values."""
    kind = property_type(key)
    if isinstance(key, NamedProperty):
        parts = [struct.pack("<HH", kind, lend_id(key)), key.guid.bytes_le]
        if isinstance(key.name, int):
            parts.append(struct.pack("<II", 0, key.name))
        else:
            name = key.name.encode("utf-16-le", "surrogatepass") + b"\0\0"
            parts.append(struct.pack("<II", 1, len(name)) + name + bytes(-len(name) % 4))
    else:
        parts = [_U32.pack(key)]
    base = kind & ~MV_FLAG
    if kind & MV_FLAG:
        parts.append(_U32.pack(len(value)))
        parts.extend([encode_value(base, item) for item in value])
    else:
        if base in _VARIABLE:
            parts.append(_U32.pack(1))
        parts.append(encode_value(base, value))
    return b"".join(parts)


def decode_property(reader: StreamReader, values_max: int = 100_000) -> tuple[Key, Value]:
    """The inverse of `encode_property`. Raises PropertyStreamError."""
    kind, identifier = _TAG.unpack(reader.take(4))
    fixed = _FIXED.get(kind)
    if fixed is not None and identifier < _NAMED_ID:  # as most are
        return identifier << 16 | kind, fixed.unpack(reader.take(fixed.size))[0]
    key: Key
    if identifier >= _NAMED_ID:
        guid = UUID(bytes_le=reader.take(16))
        if reader.u32() == 0:
            key = NamedProperty(guid, reader.u32(), kind)
        else:
            name = reader.padded(reader.u32()).decode("utf-16-le", "replace")
            key = NamedProperty(guid, name.removesuffix("\0"), kind)
    else:
        key = identifier << 16 | kind
    base = kind & ~MV_FLAG
    if kind & MV_FLAG:
        count = reader.u32()
        if count > min(values_max, reader.left):
            raise PropertyStreamError(f"{count} values cannot be there")
        return key, tuple(decode_value(reader, base) for _ in range(count))
    if base in _VARIABLE:
        count = reader.u32()
        if count > min(values_max, reader.left):
            raise PropertyStreamError(f"{count} values cannot be there")
        values = [decode_value(reader, base) for _ in range(count)]
        return key, values[0] if values else (b"" if base != PT_UNICODE else "")
    return key, decode_value(reader, base)


# --- whole messages ---------------------------------------------------------------------------------------------------

_MAGIC: Final = b"MJP1"
_ABSENT: Final = 0
_ORIGINAL: Final = 1
_CHANGED: Final = 2
_WHOLE: Final = 3
_DEPTH_MAX: Final = 60


def _blob(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def _take_blob(reader: StreamReader) -> bytes:
    return reader.take(int(struct.unpack("<Q", reader.take(8))[0]))


def _lend(_: NamedProperty) -> int:
    return _NAMED_ID


def _pack_values(items: list[tuple[Key, Value]]) -> bytes:
    return _U32.pack(len(items)) + b"".join([encode_property(key, value, _lend) for key, value in items])


def _unpack_values(reader: StreamReader) -> list[tuple[Key, Value]]:
    return [decode_property(reader) for _ in range(min(reader.u32(), reader.left))]


def _pack_changes(bag: PropertyBag) -> bytes:
    """Keys that were set, with their values, and keys that were deleted."""
    values = dict(bag.items())
    changed = sorted(bag.changed, key=str)
    deleted: list[tuple[Key, Value]] = []
    for key in changed:
        if key not in values:
            kind = property_type(key)
            name = key._replace(type=PT_LONG) if isinstance(key, NamedProperty) else key & ~0xFFFF | PT_LONG
            deleted.append((name, kind))
    return _pack_values([(key, values[key]) for key in changed if key in values]) + _pack_values(deleted)


def _apply_changes(reader: StreamReader, bag: PropertyBag) -> None:
    for key, value in _unpack_values(reader):
        bag[key] = value
    for key, kind in _unpack_values(reader):
        bag[key._replace(type=kind) if isinstance(key, NamedProperty) else key & ~0xFFFF | kind] = None


def _pack_attachment(attachment: Attachment) -> bytes:
    embedded = attachment.embedded
    packed = b"" if embedded is None else pack_message(embedded)
    return _pack_values(attachment.items()) + _blob(packed)


def _unpack_attachment(reader: StreamReader, depth: int) -> Attachment:
    attachment = Attachment(dict(_unpack_values(reader)))
    packed = _take_blob(reader)
    if packed:
        attachment.embedded = _unpack(packed, depth + 1)
    PropertyBag.settle(attachment)
    return attachment


def pack_message(message: PropertyMessage) -> bytes:
    """A message as octets. One that was not modified takes its original octets and 14 more."""
    parts = [_MAGIC]
    if message.original is None:
        parts += [bytes((_WHOLE,)), _pack_values(message.properties.items())]
    else:
        parts += [bytes((_CHANGED if message.modified else _ORIGINAL,)), _blob(message.original)]
        if not message.modified:
            return b"".join(parts)
        parts.append(_pack_changes(message.properties))
    whole = message.original is None
    if whole or message.recipients.modified:
        parts.append(_U32.pack(len(message.recipients) + 1))
        parts.extend([_pack_values(recipient.items()) for recipient in message.recipients])
    else:
        parts.append(_U32.pack(_ABSENT))
    if whole or message.attachments.rearranged:
        parts.append(bytes((_WHOLE,)) + _U32.pack(len(message.attachments)))
        parts.extend([_pack_attachment(attachment) for attachment in message.attachments])
    else:
        changed = [index for index, attachment in enumerate(message.attachments) if attachment.modified]
        parts.append(bytes((_CHANGED,)) + _U32.pack(len(changed)))
        for index in changed:
            attachment = message.attachments[index]
            parts.append(_U32.pack(index) + _pack_changes(attachment))
            embedded = attachment.embedded
            modified = embedded is not None and (embedded.touched or attachment.changed)
            parts.append(_blob(pack_message(embedded) if embedded is not None and modified else b""))
    return b"".join(parts)


def unpack_message(packed: bytes) -> PropertyMessage:
    """The inverse of `pack_message`. Raises ValueError when the octets are damaged."""
    return _unpack(packed, 0)


def _unpack(packed: bytes, depth: int) -> PropertyMessage:
    from .imail import inbound  # noqa: PLC0415  # the converter is built on this module

    if depth > _DEPTH_MAX:
        raise PropertyStreamError("messages inside messages without end")
    reader = StreamReader(packed)
    if reader.take(4) != _MAGIC:
        raise PropertyStreamError("this is no property message")
    form = reader.take(1)[0]
    if form == _WHOLE:
        message = PropertyMessage()
        message.properties = PropertyBag(dict(_unpack_values(reader)))
    elif form in {_ORIGINAL, _CHANGED}:
        message = inbound(_take_blob(reader))
        if form == _ORIGINAL:
            return message
        _apply_changes(reader, message.properties)
    else:
        raise PropertyStreamError(f"form {form} is unknown")
    rows = reader.u32()
    if rows:
        message.recipients[:] = [Recipient(dict(_unpack_values(reader))) for _ in range(min(rows - 1, reader.left))]
    if reader.take(1)[0] == _WHOLE:
        count = min(reader.u32(), reader.left)
        message.attachments[:] = [_unpack_attachment(reader, depth) for _ in range(count)]
        return message
    for _ in range(min(reader.u32(), reader.left)):
        index = reader.u32()
        if index >= len(message.attachments):
            raise PropertyStreamError(f"there is no attachment {index}")
        attachment = message.attachments[index]
        _apply_changes(reader, attachment)
        embedded = _take_blob(reader)
        if embedded:
            attachment.embedded = _unpack(embedded, depth + 1)
    return message
