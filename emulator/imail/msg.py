"""Outlook's .msg files ⇄ property messages (MS-OXMSG)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from emulator.properties import ATTACH_EMBEDDED_MSG, Attachment, PropertyBag, PropertyMessage, Recipient, Value
from emulator.property_stream import PropertyStreamError, StreamReader, decode_value, encode_value
from emulator.property_tags import (
    MV_FLAG,
    PR_ATTACH_DATA_OBJ,
    PR_ATTACH_METHOD,
    PR_INTERNET_CPID,
    PR_MESSAGE_CLASS,
    PR_MESSAGE_CODEPAGE,
    PR_STORE_SUPPORT_MASK,
    PS_MAPI,
    PS_PUBLIC_STRINGS,
    PT_BINARY,
    PT_CLSID,
    PT_OBJECT,
    PT_STRING8,
    PT_UNICODE,
    Key,
    NamedProperty,
    property_type,
)

from .codepages import codec_of
from .compound_file import SIGNATURE, Tree, read_compound_file, write_compound_file
from .rtf_compression import crc
from .tnef_mail import rtf_bodies

Values = dict[Key, Value]

_NAMES: Final = "__nameid_version1.0"
_PROPERTIES: Final = "__properties_version1.0"
_OBJECT: Final = "__substg1.0_3701000D"
_ROW: Final = struct.Struct("<II8s")
_NAME: Final = struct.Struct("<IHH")
_VARIABLE: Final = frozenset({PT_STRING8, PT_UNICODE, PT_BINARY, PT_CLSID})
_HEADERS: Final = {"message": 32, "embedded": 24, "row": 8}
IID_ISTORAGE: Final = UUID("0000000B-0000-0000-C000-000000000046")
ROWS_MAX: Final = 100_000
DEPTH_MAX: Final = 40
_READABLE_WRITABLE: Final = 6
STORE_UNICODE_OK: Final = 0x0004_0000
"""Bit of PR_STORE_SUPPORT_MASK without which readers take strings for octets (MS-OXMSG section 2.1.1.1)."""


def is_msg(octets: bytes) -> bool:
    """Whether the octets begin like a compound file."""
    return octets.startswith(SIGNATURE)


def _stream(tree: Tree, name: str) -> bytes:
    value = tree.get(name)
    return value if isinstance(value, bytes) else b""


class _Reader:
    def __init__(self, tree: Tree) -> None:
        names = tree.get(_NAMES)
        self._named = _read_names(names) if isinstance(names, dict) else {}
        self._codec = "cp1252"

    def message(self, tree: Tree, header: int, depth: int) -> PropertyMessage:
        message = PropertyMessage()
        self._codec = "cp1252"
        fixed = self._fixed(tree, header)
        for tag in (PR_INTERNET_CPID, PR_MESSAGE_CODEPAGE):
            if fixed.get(tag):
                self._codec = codec_of(int(fixed[tag]))
        values = self.values(tree, header)
        values.setdefault(PR_MESSAGE_CLASS, "IPM.Note")
        if values.get(PR_STORE_SUPPORT_MASK) == STORE_UNICODE_OK:
            del values[PR_STORE_SUPPORT_MASK]  # it says nothing of the message
        rtf_bodies(values)
        message.properties = PropertyBag(values)
        for name in sorted(tree):
            child = tree[name]
            if not isinstance(child, dict) or len(message.recipients) + len(message.attachments) > ROWS_MAX:
                continue
            if name.startswith("__recip_version1.0_#"):
                message.recipients.append(Recipient(self.values(child, _HEADERS["row"])))
            elif name.startswith("__attach_version1.0_#"):
                message.attachments.append(self._attachment(child, depth))
        message.settle()
        return message

    def _attachment(self, tree: Tree, depth: int) -> Attachment:
        attachment = Attachment(self.values(tree, _HEADERS["row"]))
        inner = tree.get(_OBJECT)
        if isinstance(inner, dict) and attachment.get(PR_ATTACH_METHOD) == ATTACH_EMBEDDED_MSG and depth < DEPTH_MAX:
            codec = self._codec
            attachment.embedded = self.message(inner, _HEADERS["embedded"], depth + 1)
            self._codec = codec
        elif isinstance(inner, dict):
            # an OLE object: its storage as a file of its own, behind the interface identifier that TNEF has there
            attachment[PR_ATTACH_DATA_OBJ] = IID_ISTORAGE.bytes_le + write_compound_file(inner)
        return attachment

    def _fixed(self, tree: Tree, header: int) -> dict[int, Value]:
        """Values that stand in the property stream itself."""
        data = _stream(tree, _PROPERTIES)
        found: dict[int, Value] = {}
        for at in range(header, len(data) - _ROW.size + 1, _ROW.size):
            tag, _, raw = _ROW.unpack_from(data, at)
            kind = tag & 0xFFFF
            if kind & MV_FLAG or kind in _VARIABLE or kind == PT_OBJECT:
                continue
            try:
                found[tag] = decode_value(StreamReader(raw), kind)
            except PropertyStreamError:
                continue
        return found

    def values(self, tree: Tree, header: int) -> Values:
        """All properties of a storage under their keys."""
        found: Values = {self._key(tag): value for tag, value in self._fixed(tree, header).items()}
        for name, data in tree.items():
            if not isinstance(data, bytes) or not name.startswith("__substg1.0_") or len(name) != 20:
                continue
            try:
                tag = int(name[12:], 16)
            except ValueError:
                continue
            value = self._variable(tree, name, data, tag & 0xFFFF)
            if value is not None:
                key = self._key(tag)
                found[key] = value
        return found

    def _variable(self, tree: Tree, name: str, data: bytes, kind: int) -> Value:
        base = kind & ~MV_FLAG
        if not kind & MV_FLAG:
            return self._decode(data, base) if base in _VARIABLE else None
        if base in _VARIABLE and base != PT_CLSID:
            count = len(data) // (8 if base == PT_BINARY else 4)
            parts = [_stream(tree, f"{name}-{index:08X}") for index in range(min(count, len(tree)))]
            return tuple(self._decode(part, base) for part in parts)
        reader = StreamReader(data)
        size = 16 if base == PT_CLSID else len(encode_value(base, 0)) if base != 2 else 2
        values: list[Value] = []
        try:
            while reader.left >= size:
                raw = reader.take(size)
                values.append(decode_value(StreamReader(raw.ljust(4, b"\0")), base))
        except PropertyStreamError:
            return None
        return tuple(values)

    def _decode(self, data: bytes, kind: int) -> Value:
        if kind == PT_UNICODE:
            return data.decode("utf-16-le", "replace").removesuffix("\0")
        if kind == PT_STRING8:
            return data.decode(self._codec, "replace").removesuffix("\0")
        if kind == PT_CLSID:
            return UUID(bytes_le=data[:16]) if len(data) >= 16 else None
        return data

    def _key(self, tag: int) -> Key:
        kind = tag & 0xFFFF
        if kind & ~MV_FLAG == PT_STRING8:
            kind = kind & MV_FLAG | PT_UNICODE
        named = self._named.get(tag >> 16)
        return named._replace(type=kind) if named is not None else tag & ~0xFFFF | kind


def _read_names(tree: Tree) -> dict[int, NamedProperty]:
    guids = _stream(tree, "__substg1.0_00020102")
    strings = _stream(tree, "__substg1.0_00040102")
    entries = _stream(tree, "__substg1.0_00030102")
    found: dict[int, NamedProperty] = {}
    for at in range(0, len(entries) - _NAME.size + 1, _NAME.size):
        identifier, kind, index = _NAME.unpack_from(entries, at)
        which = kind >> 1
        if which in {1, 2}:
            guid = PS_MAPI if which == 1 else PS_PUBLIC_STRINGS
        else:
            raw = guids[(which - 3) * 16 : (which - 2) * 16]
            if which < 3 or len(raw) != 16:
                continue
            guid = UUID(bytes_le=raw)
        name: str | int = identifier
        if kind & 1:
            size = int.from_bytes(strings[identifier : identifier + 4], "little")
            name = strings[identifier + 4 : identifier + 4 + size].decode("utf-16-le", "replace")
        found[0x8000 + index] = NamedProperty(guid, name)
    return found


def message_from_msg(octets: bytes) -> PropertyMessage | None:
    """The message in a .msg file, or None where it is none. Never raises."""
    tree = read_compound_file(octets)
    if tree is None or not isinstance(tree.get(_PROPERTIES), bytes):
        return None
    return _Reader(tree).message(tree, _HEADERS["message"], 0)


class _Writer:
    """Named properties of all levels share one table."""

    def __init__(self) -> None:
        self._lent: dict[tuple[UUID, str | int], int] = {}

    def _tag(self, key: Key) -> int:
        if isinstance(key, NamedProperty):
            index = self._lent.setdefault((key.guid, key.name), len(self._lent))
            return (0x8000 + index % 0x7FFF) << 16 | key.type
        return key

    def bag(self, items: Iterable[tuple[Key, Value]], header: bytes, tree: Tree) -> None:
        rows: list[bytes] = [header]
        for key, value in items:
            kind = property_type(key)
            tag = self._tag(key)
            try:
                row = self._property(tag, kind, value, tree)
            except (struct.error, TypeError, AttributeError, UnicodeError):
                # somebody set a value that is not of the property's type: it cannot be written
                continue
            rows.append(_ROW.pack(tag, _READABLE_WRITABLE, row))
        tree[_PROPERTIES] = b"".join(rows)

    def _property(self, tag: int, kind: int, value: Value, tree: Tree) -> bytes:
        base = kind & ~MV_FLAG
        name = f"__substg1.0_{tag:08X}"
        if kind & MV_FLAG:
            if base in _VARIABLE and base != PT_CLSID:
                parts = [_octets(item, base, ended=True) for item in value]
                for index, part in enumerate(parts):
                    tree[f"{name}-{index:08X}"] = part
                pad = 4 if base == PT_BINARY else 0
                data = b"".join([len(part).to_bytes(4, "little") + bytes(pad) for part in parts])
            else:
                size = 2 if base == 2 else None
                data = b"".join([encode_value(base, item)[:size] for item in value])
            tree[name] = data
            return struct.pack("<II", len(data), 0)
        if base in _VARIABLE:
            data = _octets(value, base, ended=False)
            tree[name] = data
            size = len(data) + {PT_UNICODE: 2, PT_STRING8: 1}.get(base, 0)
            return struct.pack("<II", size, 0)
        return encode_value(base, value).ljust(8, b"\0")

    def message(self, message: PropertyMessage, depth: int) -> Tree:
        tree: Tree = {}
        recipients, attachments = len(message.recipients), len(message.attachments)
        header = struct.pack("<8xIIII", recipients, attachments, recipients, attachments)
        properties = message.properties.as_dict()
        mask = properties.get(PR_STORE_SUPPORT_MASK, 0)
        properties[PR_STORE_SUPPORT_MASK] = STORE_UNICODE_OK | (mask if isinstance(mask, int) else 0)
        self.bag(properties.items(), header if depth else header + bytes(8), tree)
        for number, recipient in enumerate(message.recipients):
            row: Tree = {}
            self.bag(recipient.items(), bytes(8), row)
            tree[f"__recip_version1.0_#{number:08X}"] = row
        for number, attachment in enumerate(message.attachments):
            row = {}
            items = [(key, value) for key, value in attachment.items() if property_type(key) != PT_OBJECT]
            self.bag(items, bytes(8), row)
            if attachment.embedded is not None and depth < DEPTH_MAX:
                row[_OBJECT] = self.message(attachment.embedded, depth + 1)
            elif isinstance(value := attachment.get(PR_ATTACH_DATA_OBJ), bytes):
                row[_OBJECT] = read_compound_file(value[16:]) or {"CONTENTS": value}
            tree[f"__attach_version1.0_#{number:08X}"] = row
        return tree

    def names(self) -> Tree:
        """The storage that maps identifiers to names, with the hash streams by which readers look them up."""
        guids: dict[UUID, int] = {PS_MAPI: 1, PS_PUBLIC_STRINGS: 2}
        strings = bytearray()
        entries: list[bytes] = []
        hashed: dict[str, bytes] = {}
        for (guid, name), index in self._lent.items():
            which = guids.setdefault(guid, len(guids) + 1)
            if isinstance(name, str):
                raw = name.encode("utf-16-le", "replace")
                offset, kind, number = len(strings), which << 1 | 1, crc(raw)
                strings += len(raw).to_bytes(4, "little") + raw + bytes(-len(raw) % 4)
            else:
                offset, kind, number = name, which << 1, name
            entries.append(_NAME.pack(offset, kind, index))
            stream = f"__substg1.0_{0x1000 + (number ^ kind) % 0x1F:04X}0102"
            hashed[stream] = hashed.get(stream, b"") + _NAME.pack(number, kind, index)
        tree: Tree = {
            "__substg1.0_00020102": b"".join([guid.bytes_le for guid, which in guids.items() if which > 2]),
            "__substg1.0_00030102": b"".join(entries),
            "__substg1.0_00040102": bytes(strings),
        }
        tree.update(hashed)
        return tree


def _octets(value: Value, kind: int, *, ended: bool) -> bytes:
    if kind == PT_UNICODE:
        return str(value).encode("utf-16-le", "surrogatepass") + (b"\0\0" if ended else b"")
    if kind == PT_CLSID:
        return bytes(value.bytes_le)
    return value.encode("utf-8") if isinstance(value, str) else bytes(value)


def message_to_msg(message: PropertyMessage) -> bytes:
    """A .msg file of all properties, recipients and attachments; `message_from_msg` gives the same message again."""
    writer = _Writer()
    tree = writer.message(message, 0)
    tree[_NAMES] = writer.names()
    return write_compound_file(tree)
