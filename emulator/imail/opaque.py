"""Signed and encrypted messages: one attachment holds the entity unchanged (MS-OXOSMIME section 2.1.3.2).

S/MIME (RFC 8551) and PGP/MIME (RFC 3156) alike: a changed octet breaks the signature, so nothing is taken apart that is
written again. What a clear-signed message says is shown as its body, and not used when MIME is generated.
"""

from __future__ import annotations

from emulator.properties import ATTACH_BY_VALUE, Attachment, Lazy, PropertyMessage, Value
from emulator.property_tags import (
    PR_ATTACH_DATA_BIN,
    PR_ATTACH_FLAGS,
    PR_ATTACH_METHOD,
    PR_ATTACH_MIME_TAG,
    PR_ATTACH_NUM,
    PR_ATTACH_SIZE,
    PR_ATTACHMENT_HIDDEN,
    PR_MESSAGE_CLASS,
    PR_RENDERING_POSITION,
    Key,
)
from protocols.mime import Part, parse, transfer

from .attachments import RAW_CONTENT_TYPE, name_properties
from .layout import file_name
from .mime_writer import Allow, Entity, encode_leaf

CLASS_CLEAR_SIGNED = "IPM.Note.SMIME.MultipartSigned"
CLASS_OPAQUE = "IPM.Note.SMIME"
SIGNED_NAME = "SMIME.txt"
OPAQUE_NAME = "smime.p7m"


def message_class(part: Part) -> str:
    """Message class of an opaque root part."""
    return CLASS_CLEAR_SIGNED if part.type == "multipart" and part.subtype == "signed" else CLASS_OPAQUE


def content_type_field(part: Part) -> bytes:
    """Value of the last Content-Type field, on one line."""
    raw = part.headers.last(b"content-type") or b""
    return b" ".join(raw.split())


def opaque_attachment(part: Part) -> Attachment:
    """The one row: a multipart with its Content-Type field before its octets, or the octets of a PKCS #7 file."""
    attachment = Attachment(fill=lambda: _values(part, attachment))
    attachment.source = part
    return attachment


def _values(part: Part, attachment: Attachment) -> dict[Key, Value]:
    values: dict[Key, Value] = {PR_ATTACH_NUM: 0, PR_ATTACH_METHOD: ATTACH_BY_VALUE}
    multipart = part.type == "multipart"
    name_properties(values, SIGNED_NAME if multipart else file_name(part) or OPAQUE_NAME)
    values[PR_ATTACH_MIME_TAG] = part.content_type
    if multipart:
        values[PR_ATTACH_DATA_BIN] = Lazy(
            lambda: b"Content-Type: " + content_type_field(part) + b"\r\n\r\n" + part.body
        )
    else:
        values[PR_ATTACH_DATA_BIN] = Lazy(lambda: transfer.decode(part.body, part.encoding))
    values[PR_ATTACH_SIZE] = Lazy(lambda: len(attachment.data))
    values[PR_RENDERING_POSITION] = -1
    values[PR_ATTACH_FLAGS] = 0
    values[PR_ATTACHMENT_HIDDEN] = False
    return values


def opaque_properties(part: Part, values: dict[Key, Value]) -> None:
    """Message class and the Content-Type field as it was."""
    values[PR_MESSAGE_CLASS] = message_class(part)
    values[RAW_CONTENT_TYPE] = content_type_field(part).decode("utf-8", "replace")


def is_opaque_message(message: PropertyMessage) -> bool:
    """Whether MIME is to be made of the one attachment alone."""
    kind = str(message.get(PR_MESSAGE_CLASS, "")).lower()
    if not kind.startswith(CLASS_OPAQUE.lower()) or len(message.attachments) != 1:
        return False
    return bool(message.attachments[0].data)


def opaque_entity(message: PropertyMessage, allow: Allow) -> Entity:
    """The entity that the attachment holds."""
    attachment = message.attachments[0]
    data = attachment.data
    if data[:13].lower() == b"content-type:":
        part = parse(data)
        if part.type == "multipart":
            entity = Entity(part.content_type)
            entity.content_type = part.headers.get(b"content-type") or b""
            # lines that are not ASCII cannot be encoded without breaking the signature (RFC 1847 section 2.1)
            entity.encoding = "7bit" if part.body.isascii() else "8bit"
            entity.data = part.body
            return entity
    saved = message.get(RAW_CONTENT_TYPE, "")
    media_type = attachment.content_type or "application/pkcs7-mime"
    entity = Entity(media_type, [("name", attachment.name or OPAQUE_NAME)])
    if saved.isascii() and saved.isprintable() and saved.lower().startswith(media_type):
        entity.content_type = saved.encode("ascii")
    entity.raw = data
    entity.encoding, entity.data = encode_leaf(data, allow, text=False, closed=True, liked="base64")
    entity.add(b"Content-Disposition", b"attachment; filename=" + _safe_name(attachment.name or OPAQUE_NAME))
    return entity


def _safe_name(name: str) -> bytes:
    return b'"' + "".join(c for c in name if c.isascii() and c.isprintable() and c not in '"\\').encode("ascii") + b'"'
