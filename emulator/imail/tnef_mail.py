"""winmail.dat inside MIME: where it is found, what it gives, when it has to be written (MS-OXCMAIL section 2.1.3.5)."""

from __future__ import annotations

from typing import Final

from emulator.properties import Attachment, Lazy, PropertyMessage, Value
from emulator.property_tags import (
    CONTENT_CLASS,
    KEYWORDS,
    PR_ATTACH_NUM,
    PR_BODY,
    PR_HTML,
    PR_INTERNET_CPID,
    PR_MESSAGE_CLASS,
    PR_NATIVE_BODY_INFO,
    PR_RTF_COMPRESSED,
    PR_RTF_IN_SYNC,
    PR_TNEF_CORRELATION_KEY,
    PS_INTERNET_HEADERS,
    TAG_NAMES,
    Key,
    NamedProperty,
    property_id,
)
from protocols.mime import Part, transfer

from .body import NATIVE_HTML, NATIVE_RTF, crlf
from .codepages import UTF_8
from .envelope import READ_RECEIPT, SENDER, SENT_REPRESENTING
from .layout import Layout, Leaf, file_name
from .mime_writer import Allow, Entity, encode_leaf
from .rtf_compression import decompress_rtf
from .rtf_text import html_from_rtf, text_from_rtf
from .tnef import message_from_tnef, message_to_tnef

Values = dict[Key, Value]

PACKED_OCTETS_PER_TOKEN_MIN: Final = 6
"""Of compressed RTF, beyond TOKENS_FREE: it grows to eight times its size at most, and must not take as much longer."""
TOKENS_FREE: Final = 30_000
RTF_OCTETS_PER_PACKED_MAX: Final = 4
"""What is read of an RTF that grows to more, beyond RTF_OCTETS_FREE, ends there; PR_RTF_COMPRESSED keeps all of it."""
RTF_OCTETS_FREE: Final = 1 << 20
TNEF_NAME: Final = "winmail.dat"
_TNEF_TYPES: Final = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_FROM_HEADER: Final = frozenset({*SENDER, *SENT_REPRESENTING, *READ_RECEIPT})
"""Who sent a message is what its MIME header says: a stream that was forwarded must not speak for somebody else."""
_TNEF_CLASSES: Final = ("ipm.note", "report.ipm.note")


def find_tnef(layout: Layout) -> Leaf | None:
    """The attachment that is a TNEF stream."""
    for leaf in layout.attachments:
        if leaf.part.content_type in _TNEF_TYPES or (
            leaf.part.content_type == "application/octet-stream" and file_name(leaf.part).lower() == TNEF_NAME
        ):
            return leaf
    return None


def read_tnef(part: Part, correlator: bytes | None) -> PropertyMessage | None:
    """The message in the stream, unless its key contradicts the X-MS-TNEF-Correlator field."""
    message = message_from_tnef(transfer.decode(part.body, part.encoding))
    if message is None:
        return None
    key = message.get(PR_TNEF_CORRELATION_KEY)
    if key and correlator and bytes(key).rstrip(b"\0") != correlator.rstrip(b"\0"):
        return None
    return message


def overlay(values: Values, tnef: PropertyMessage) -> None:
    """The properties of the stream over those of the MIME header and body, except for who sent and received it."""
    for key, value in tnef.properties.items():
        if key not in _FROM_HEADER:
            values[key] = value
    rtf_bodies(values)


def rtf_bodies(values: Values) -> None:
    """The HTML or text that a compressed RTF body holds, where there is no better body."""
    packed = values.get(PR_RTF_COMPRESSED)
    if not isinstance(packed, bytes):
        return
    if PR_HTML not in values:
        values[PR_NATIVE_BODY_INFO] = NATIVE_RTF
        rtf = decompress_rtf(packed, RTF_OCTETS_FREE + len(packed) * RTF_OCTETS_PER_PACKED_MAX)
        if rtf is None:
            return
        tokens_max = TOKENS_FREE + len(packed) // PACKED_OCTETS_PER_TOKEN_MIN
        html = html_from_rtf(rtf, tokens_max)
        if html is not None:
            values[PR_HTML] = html.encode("utf-8", "replace")
            values[PR_INTERNET_CPID] = UTF_8
            values[PR_NATIVE_BODY_INFO] = NATIVE_HTML
        elif PR_BODY not in values:
            values[PR_BODY] = Lazy(lambda: crlf(text_from_rtf(rtf, tokens_max)))
            values.setdefault(PR_INTERNET_CPID, UTF_8)
        values.setdefault(PR_RTF_IN_SYNC, True)


def renumber(attachments: list[Attachment]) -> list[Attachment]:
    """Rows numbered in order; nothing counts as changed by it."""
    for number, attachment in enumerate(attachments):
        attachment[PR_ATTACH_NUM] = number
        attachment.settle()
    return attachments


_NOT_NEEDED: Final = frozenset({PR_BODY, PR_HTML, PR_NATIVE_BODY_INFO, KEYWORDS, CONTENT_CLASS})


def needs_tnef(message: PropertyMessage) -> bool:
    """Whether a property would be lost in MIME without a stream beside it."""
    kind = str(message.get(PR_MESSAGE_CLASS, "IPM.Note")).lower()
    if not kind.startswith(_TNEF_CLASSES):
        return True
    return any(is_beyond_mime(key) for key in message.properties)


def is_beyond_mime(key: Key) -> bool:
    """Whether MIME has no place for a property."""
    if isinstance(key, NamedProperty):
        return key.guid != PS_INTERNET_HEADERS and key not in _NOT_NEEDED
    return (key not in TAG_NAMES and property_id(key) < 0x6600) or key == PR_RTF_COMPRESSED


def tnef_entity(message: PropertyMessage, body: Entity | None, allow: Allow) -> Entity:
    """multipart/mixed of a text that everybody can read and the stream."""
    octets = message_to_tnef(message)
    stream = Entity("application/ms-tnef", [("name", TNEF_NAME)])
    stream.encoding, stream.data = encode_leaf(octets, allow, text=False, closed=False)
    stream.raw = octets
    stream.add(b"Content-Disposition", b"attachment; filename=" + TNEF_NAME.encode("ascii"))
    children = [body if body is not None else Entity("text/plain", [("charset", "us-ascii")])]
    return Entity("multipart/mixed", children=[*children, stream])
