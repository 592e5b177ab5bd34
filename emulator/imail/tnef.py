"""TNEF ⇄ property messages (MS-OXTNEF section 2.1.3; what Outlook sends as winmail.dat)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from emulator.properties import (
    ATTACH_BY_VALUE,
    ATTACH_EMBEDDED_MSG,
    ATTACH_OLE,
    Attachment,
    PropertyBag,
    PropertyMessage,
    Recipient,
    Value,
    filetime,
)
from emulator.property_stream import PropertyStreamError, StreamReader, decode_property, encode_property
from emulator.property_tags import (
    MV_FLAG,
    PR_ATTACH_DATA_BIN,
    PR_ATTACH_DATA_OBJ,
    PR_ATTACH_FILENAME,
    PR_ATTACH_LONG_FILENAME,
    PR_ATTACH_METHOD,
    PR_ATTACH_NUM,
    PR_ATTACH_RENDERING,
    PR_ATTACH_SIZE,
    PR_ATTACH_TRANSPORT_NAME,
    PR_BODY,
    PR_CLIENT_SUBMIT_TIME,
    PR_CREATION_TIME,
    PR_IMPORTANCE,
    PR_LAST_MODIFICATION_TIME,
    PR_MESSAGE_CLASS,
    PR_MESSAGE_CODEPAGE,
    PR_MESSAGE_DELIVERY_TIME,
    PR_RENDERING_POSITION,
    PR_SEARCH_KEY,
    PR_SUBJECT,
    PT_STRING8,
    PT_UNICODE,
    Key,
    NamedProperty,
    property_id,
)

from . import tnef_stream as ts
from .codepages import codec_of
from .envelope import RECIPIENTS_MAX

Values = dict[Key, Value]

IID_IMESSAGE: Final = UUID("00020307-0000-0000-C000-000000000046")
DEPTH_MAX: Final = 20
PROPERTIES_MAX: Final = 100_000
"""Of one stream: its message, recipients and attachments together."""
ATTACHMENTS_FREE: Final = 500
OCTETS_PER_ATTACHMENT_MIN: Final = 256
"""Of a stream, on average, behind the first ATTACHMENTS_FREE: one that is cut finer stays the file it came as."""

_REND_DATA: Final = struct.Struct("<HiHHI")
_DTR: Final = struct.Struct("<7H")
_IMPORTANCES: Final = {3: 0, 2: 1, 1: 2}
_CLASSES: Final = {
    "ipm.microsoft mail.note": "IPM.Note",
    "ipm.microsoft mail.read receipt": "Report.IPM.Note.IPNRN",
    "ipm.microsoft mail.non-delivery": "Report.IPM.Note.NDR",
    "ipm.microsoft schedule.mtgreq": "IPM.Schedule.Meeting.Request",
    "ipm.microsoft schedule.mtgrespp": "IPM.Schedule.Meeting.Resp.Pos",
    "ipm.microsoft schedule.mtgrespn": "IPM.Schedule.Meeting.Resp.Neg",
    "ipm.microsoft schedule.mtgrespa": "IPM.Schedule.Meeting.Resp.Tent",
    "ipm.microsoft schedule.mtgcncl": "IPM.Schedule.Meeting.Canceled",
}
"""Names of Microsoft Mail and Schedule+ (MS-OXTNEF section 2.1.3.3.1)."""
_COMPUTED: Final = frozenset({PR_ATTACH_SIZE, PR_ATTACH_NUM})


class _Reader:
    __slots__ = ("codec", "depth", "message", "properties_left", "stream")

    def __init__(self, stream: ts.TnefStream, depth: int) -> None:
        self.stream = stream
        self.depth = depth
        self.properties_left = PROPERTIES_MAX
        page = stream.first(ts.ATT_OEM_CODEPAGE) or b""
        number = int.from_bytes(page[:4], "little")
        self.codec = codec_of(number) if number else "cp1252"
        self.message = PropertyMessage()
        self.message.properties = PropertyBag({PR_MESSAGE_CLASS: "IPM.Note"})
        if number:
            self.message.properties[PR_MESSAGE_CODEPAGE] = number

    def read(self) -> PropertyMessage:
        attachment: Attachment | None = None
        for item in self.stream.attributes:
            if item.level == ts.LEVEL_MESSAGE:
                self._message_attribute(item)
                continue
            if item.identifier == ts.ATT_ATTACH_REND_DATA or attachment is None:
                attachment = Attachment({PR_ATTACH_METHOD: ATTACH_BY_VALUE})
                self.message.attachments.append(attachment)
            self._attachment_attribute(item, attachment)
        for number, row in enumerate(self.message.attachments):
            row[PR_ATTACH_NUM] = number
            row[PR_ATTACH_SIZE] = len(row.data) if row.embedded is None else None
        return self.message

    def text(self, data: bytes) -> str:
        return data.removesuffix(b"\0").decode(self.codec, "replace")

    def _message_attribute(self, item: ts.Attribute) -> None:
        properties = self.message.properties
        identifier, data = item.identifier, item.data
        if identifier == ts.ATT_MSG_PROPS:
            for key, value in self.properties(StreamReader(data)):
                properties[key] = value
        elif identifier == ts.ATT_RECIP_TABLE:
            self._recipients(data)
        elif identifier == ts.ATT_MESSAGE_CLASS:
            name = self.text(data)
            properties[PR_MESSAGE_CLASS] = _CLASSES.get(name.lower(), name)
        elif identifier == ts.ATT_PRIORITY:
            if (importance := _IMPORTANCES.get(int.from_bytes(data[:2], "little"))) is not None:
                properties[PR_IMPORTANCE] = importance
        elif (tag := _MESSAGE_TEXTS.get(identifier)) is not None:
            if tag not in properties:
                properties[tag] = self.text(data)
        elif (tag := _MESSAGE_DATES.get(identifier)) is not None and tag not in properties:
            properties[tag] = _date(data)
        elif identifier == ts.ATT_MESSAGE_ID:
            try:
                properties[PR_SEARCH_KEY] = bytes.fromhex(self.text(data)) or None
            except ValueError:
                return

    def _recipients(self, data: bytes) -> None:
        reader = StreamReader(data)
        try:
            for _ in range(min(reader.u32(), reader.left, RECIPIENTS_MAX)):
                self.message.recipients.append(Recipient(dict(self.properties(reader))))
        except PropertyStreamError:
            return

    def properties(self, reader: StreamReader) -> Iterable[tuple[Key, Value]]:
        """Counted properties; those before the first damaged one."""
        try:
            for _ in range(min(reader.u32(), self.properties_left)):
                self.properties_left -= 1
                yield self._unicode(*decode_property(reader))
        except PropertyStreamError:
            # what comes after cannot be found any more
            reader.position = reader.end

    def _unicode(self, key: Key, value: Value) -> tuple[Key, Value]:
        """PT_STRING8 as PT_UNICODE: the store keeps text, not octets in somebody's code page."""
        kind = key & 0xFFFF if isinstance(key, int) else key.type
        if kind & ~MV_FLAG != PT_STRING8:
            return key, value
        if kind & MV_FLAG:
            value = tuple(item.decode(self.codec, "replace") for item in value)
        else:
            value = value.decode(self.codec, "replace")
        kind = kind & MV_FLAG | PT_UNICODE
        return (key._replace(type=kind) if isinstance(key, NamedProperty) else key & ~0xFFFF | kind), value

    def _attachment_attribute(self, item: ts.Attribute, attachment: Attachment) -> None:
        identifier, data = item.identifier, item.data
        if identifier == ts.ATT_ATTACH_REND_DATA:
            if len(data) >= _REND_DATA.size:
                kind, position, _, _, _ = _REND_DATA.unpack_from(data)
                attachment[PR_RENDERING_POSITION] = position
                if kind == 2:
                    attachment[PR_ATTACH_METHOD] = ATTACH_OLE
        elif identifier == ts.ATT_ATTACHMENT:
            for key, value in self.properties(StreamReader(data)):
                if key == PR_ATTACH_DATA_OBJ:
                    self._object(attachment, value)
                else:
                    attachment[key] = value
        elif identifier == ts.ATT_ATTACH_TITLE:
            if PR_ATTACH_LONG_FILENAME not in attachment:
                attachment[PR_ATTACH_FILENAME] = self.text(data)
        elif identifier == ts.ATT_ATTACH_DATA:
            attachment[PR_ATTACH_DATA_BIN] = data
        elif identifier == ts.ATT_ATTACH_META_FILE:
            attachment[PR_ATTACH_RENDERING] = data
        elif identifier == ts.ATT_ATTACH_TRANSPORT_NAME:
            attachment[PR_ATTACH_TRANSPORT_NAME] = self.text(data)
        elif (tag := _ATTACHMENT_DATES.get(identifier)) is not None:
            attachment[tag] = _date(data)

    def _object(self, attachment: Attachment, value: bytes) -> None:
        """An object begins with its interface identifier; a message is a TNEF stream of its own."""
        if value[:16] == IID_IMESSAGE.bytes_le and self.depth < DEPTH_MAX:
            stream = ts.read_stream(value[16:])
            if stream is not None:
                attachment.embedded = _Reader(stream, self.depth + 1).read()
                return
        attachment[PR_ATTACH_DATA_OBJ] = value


_MESSAGE_TEXTS: Final = {ts.ATT_SUBJECT: PR_SUBJECT, ts.ATT_BODY: PR_BODY}
_MESSAGE_DATES: Final = {
    ts.ATT_DATE_SENT: PR_CLIENT_SUBMIT_TIME,
    ts.ATT_DATE_RECEIVED: PR_MESSAGE_DELIVERY_TIME,
    ts.ATT_DATE_MODIFIED: PR_LAST_MODIFICATION_TIME,
}
_ATTACHMENT_DATES: Final = {
    ts.ATT_ATTACH_CREATE_DATE: PR_CREATION_TIME,
    ts.ATT_ATTACH_MODIFY_DATE: PR_LAST_MODIFICATION_TIME,
}


def _date(data: bytes) -> int | None:
    """A DTR structure: year, month, day, hour, minute, second, day of the week."""
    if len(data) < 12:
        return None
    try:
        year, month, day, hour, minute, second = struct.unpack_from("<6H", data)
        return filetime(datetime(year, month, day, hour, minute, second, tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def message_from_tnef(octets: bytes) -> PropertyMessage | None:
    """The message in a TNEF stream, or None where there is no signature or OCTETS_PER_ATTACHMENT_MIN is not met.

    Never raises; linear. Damaged attributes give what stands before the damage; checksums are not insisted on.
    """
    stream = ts.read_stream(octets)
    if stream is None:
        return None
    attachments = sum(item.identifier == ts.ATT_ATTACH_REND_DATA for item in stream.attributes)
    if attachments > ATTACHMENTS_FREE + len(octets) // OCTETS_PER_ATTACHMENT_MIN:
        return None
    message = _Reader(stream, 0).read()
    message.settle()
    return message


# --- writing ----------------------------------------------------------------------------------------------------------


class _Writer:
    """Identifiers from 0x8000 on are lent to named properties in the order of their appearance."""

    def __init__(self) -> None:
        self._lent: dict[tuple[UUID, str | int], int] = {}

    def lend(self, key: NamedProperty) -> int:
        return self._lent.setdefault((key.guid, key.name), 0x8000 + len(self._lent) % 0x7FFE)

    def pack(self, items: Iterable[tuple[Key, Value]]) -> bytes:
        encoded: list[bytes] = []
        for key, value in items:
            try:
                encoded.append(encode_property(key, value, self.lend))
            except (struct.error, TypeError, AttributeError, UnicodeError):
                # somebody set a value that is not of the property's type: it cannot travel
                continue
        return len(encoded).to_bytes(4, "little") + b"".join(encoded)

    def message(self, message: PropertyMessage, depth: int) -> bytes:
        properties = message.properties.as_dict()
        page = int(properties.get(PR_MESSAGE_CODEPAGE) or 0) or 1252
        kind = str(properties.get(PR_MESSAGE_CLASS, "IPM.Note"))
        out = [
            ts.attribute(1, ts.ATT_TNEF_VERSION, (0x10000).to_bytes(4, "little")),
            ts.attribute(1, ts.ATT_OEM_CODEPAGE, page.to_bytes(4, "little") + bytes(4)),
            ts.attribute(1, ts.ATT_MESSAGE_CLASS, kind.encode("cp1252", "replace") + b"\0"),
            ts.attribute(1, ts.ATT_MSG_PROPS, self.pack(properties.items())),
        ]
        if message.recipients:
            rows = [self.pack(row.items()) for row in message.recipients]
            out.append(ts.attribute(1, ts.ATT_RECIP_TABLE, len(rows).to_bytes(4, "little") + b"".join(rows)))
        for attachment in message.attachments:
            out += self.attachment(attachment, depth)
        return ts.write_stream(out)

    def attachment(self, attachment: Attachment, depth: int) -> list[ts.Attribute]:
        method = attachment.method
        rend = _REND_DATA.pack(
            2 if method == ATTACH_OLE else 1, int(attachment.get(PR_RENDERING_POSITION, -1)), 32, 32, 0
        )
        out = [ts.attribute(2, ts.ATT_ATTACH_REND_DATA, rend)]
        items: list[tuple[Key, Value]] = [
            (key, value)
            for key, value in attachment.items()
            if key not in _COMPUTED and not (isinstance(key, int) and property_id(key) == 0x3701)
        ]
        embedded = attachment.embedded
        if embedded is not None and depth < DEPTH_MAX:
            items.append((PR_ATTACH_DATA_OBJ, IID_IMESSAGE.bytes_le + _Writer().message(embedded, depth + 1)))
        elif (value := attachment.get(PR_ATTACH_DATA_OBJ)) is not None and method != ATTACH_EMBEDDED_MSG:
            items.append((PR_ATTACH_DATA_OBJ, value))
        if PR_ATTACH_DATA_BIN in attachment:
            out.append(ts.attribute(2, ts.ATT_ATTACH_DATA, attachment.data))
        out.append(ts.attribute(2, ts.ATT_ATTACHMENT, self.pack(items)))
        return out


def message_to_tnef(message: PropertyMessage) -> bytes:
    """A TNEF stream of all properties, recipients and attachments; `message_from_tnef` gives the same message again."""
    return _Writer().message(message, 0)
