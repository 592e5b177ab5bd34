"""Parts → rows of the attachments table (MS-OXCMAIL section 2.1.3.4)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from emulator.properties import (
    ATTACH_BY_VALUE,
    ATTACH_EMBEDDED_MSG,
    Attachment,
    Lazy,
    PropertyMessage,
    Value,
    filetime,
)
from emulator.property_tags import (
    PR_ATTACH_ADDITIONAL_INFO,
    PR_ATTACH_CONTENT_BASE,
    PR_ATTACH_CONTENT_ID,
    PR_ATTACH_CONTENT_LOCATION,
    PR_ATTACH_DATA_BIN,
    PR_ATTACH_EXTENSION,
    PR_ATTACH_FILENAME,
    PR_ATTACH_FLAGS,
    PR_ATTACH_LONG_FILENAME,
    PR_ATTACH_METHOD,
    PR_ATTACH_MIME_TAG,
    PR_ATTACH_NUM,
    PR_ATTACH_SIZE,
    PR_ATTACHMENT_HIDDEN,
    PR_CREATION_TIME,
    PR_DISPLAY_NAME,
    PR_LAST_MODIFICATION_TIME,
    PR_RENDERING_POSITION,
    PR_SUBJECT,
    PR_TEXT_ATTACHMENT_CHARSET,
    PS_INTERNET_HEADERS,
    PSETID_ATTACHMENT,
    PT_BINARY,
    Key,
    NamedProperty,
)
from protocols.mime import Part, transfer
from protocols.mime.charsets import decode_text
from protocols.mime.dates import parse_date
from protocols.mime.words import decode_words

from . import mac
from .body import crlf_octets
from .layout import Leaf, file_name

Values = dict[Key, Value]

ATT_MHTML_REF = 4
MAC_INFO = NamedProperty(PSETID_ATTACHMENT, "AttachmentMacInfo", PT_BINARY)
RAW_CONTENT_TYPE = NamedProperty(PS_INTERNET_HEADERS, "content-type")
CONTENT_DESCRIPTION = NamedProperty(PS_INTERNET_HEADERS, "content-description")
CONTENT_DISPOSITION = NamedProperty(PS_INTERNET_HEADERS, "content-disposition")
DELIVERY_STATUS = "message/delivery-status"
"""Fields in lines (RFC 3464 section 2.1), which end in CRLF wherever the report was kept."""

_PLAIN_PARAMETERS = frozenset({"name", "charset", "boundary"})
_NOT_SHORT = re.compile(r"[^A-Z0-9!#$%&'()\-@^_`{}~]")


def short_name(name: str) -> str:
    """The 8.3 name that MS-DOS would have given (PR_ATTACH_FILENAME)."""
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    stem = _NOT_SHORT.sub("", stem.upper().replace(" ", ""))
    extension = _NOT_SHORT.sub("", extension.upper())[:3]
    if len(stem) > 8 or not stem or stem != name.rpartition(".")[0].upper():
        stem = (stem or "ATT")[:6] + "~1"
    return f"{stem}.{extension}" if extension else stem


def name_properties(values: Values, name: str) -> None:
    """The properties that a file name gives."""
    if not name:
        return
    values[PR_ATTACH_LONG_FILENAME] = name
    values[PR_ATTACH_FILENAME] = short_name(name)
    values[PR_DISPLAY_NAME] = name
    stem, dot, extension = name.rpartition(".")
    if dot and stem and extension:
        values[PR_ATTACH_EXTENSION] = "." + extension


def make_attachment(leaf: Leaf, number: int, embed: Callable[[bytes], PropertyMessage] | None) -> Attachment:
    """The row for a part. `embed` converts an embedded message; None: that would be over a limit, it stays octets."""
    part = leaf.part
    is_message = embed is not None and part.type == "message" and part.subtype in {"rfc822", "global"}
    attachment = Attachment(
        fill=lambda: _values(leaf, number, attachment, is_message=is_message),
        embed=None if embed is None or not is_message else partial(_embed, part, embed),
    )
    attachment.source = part
    return attachment


def _data(part: Part) -> bytes:
    octets = transfer.decode(part.body, part.encoding)
    return crlf_octets(octets) if part.content_type == DELIVERY_STATUS else octets


def _embed(part: Part, embed: Callable[[bytes], PropertyMessage]) -> PropertyMessage:
    return embed(transfer.decode(part.body, part.encoding))


def _values(leaf: Leaf, number: int, attachment: Attachment, *, is_message: bool) -> Values:
    part = leaf.part
    values: Values = {PR_ATTACH_NUM: number}
    name = file_name(part)
    name_properties(values, name)
    values[PR_ATTACH_MIME_TAG] = part.content_type
    if is_message:
        values[PR_ATTACH_METHOD] = ATTACH_EMBEDDED_MSG
        if not name:
            values[PR_DISPLAY_NAME] = Lazy(lambda: _embedded_subject(attachment))
    else:
        values[PR_ATTACH_METHOD] = ATTACH_BY_VALUE
        values[PR_ATTACH_DATA_BIN] = Lazy(partial(_data, part))
        values[PR_ATTACH_SIZE] = Lazy(lambda: len(attachment.data))
    if part.type == "text" and "charset" in part.params:
        values[PR_TEXT_ATTACHMENT_CHARSET] = part.params["charset"]
    if not is_message:
        _mac_file(leaf, values)
    _identify(part, values)
    related = leaf.related
    values[PR_RENDERING_POSITION] = -1
    values[PR_ATTACH_FLAGS] = ATT_MHTML_REF if related else 0
    values[PR_ATTACHMENT_HIDDEN] = related
    for parameter, key in (("creation-date", PR_CREATION_TIME), ("modification-date", PR_LAST_MODIFICATION_TIME)):
        text = part.disposition_params.get(parameter)
        moment = parse_date(text) if text else None
        if moment is not None:
            values[key] = filetime(moment)
    return values


def _mac_file(leaf: Leaf, values: Values) -> None:
    """Data fork as the data, everything else as MAC_INFO in the form of AppleDouble (MS-OXCMAIL section 2.1.3.4.2)."""
    part = leaf.part
    if leaf.appledouble is not None:
        info = transfer.decode(leaf.appledouble.body, leaf.appledouble.encoding)
        file = mac.read_apple(info)
        name = "" if file is None else file.name
    elif part.content_type == "application/mac-binhex40":
        file = mac.read_binhex(transfer.decode(part.body, part.encoding))
        if file is None:
            return
        values[PR_ATTACH_DATA_BIN] = file.data
        values[PR_ATTACH_MIME_TAG] = "application/octet-stream"
        info, name = mac.write_appledouble(file), file.name
    elif part.content_type in {"application/applefile", "application/mac-binary"}:
        info = transfer.decode(part.body, part.encoding)
        file = mac.read_apple(info)
        if file is None or not file.data:
            return
        values[PR_ATTACH_DATA_BIN] = file.data
        values[PR_ATTACH_MIME_TAG] = "application/octet-stream"
        info, name = mac.write_appledouble(file), file.name
    else:
        return
    values[MAC_INFO] = info
    if file is not None:
        kinds = f":{decode_text(file.creator, 'macintosh')}:{decode_text(file.type, 'macintosh')}"
        values[PR_ATTACH_ADDITIONAL_INFO] = kinds.encode("mac_roman", "replace")
    if not file_name(part):
        name_properties(values, name)


def _identify(part: Part, values: Values) -> None:
    content_id = part.content_id
    if content_id:
        values[PR_ATTACH_CONTENT_ID] = decode_words(content_id).strip().strip("<>")
    location = part.location
    if location:
        values[PR_ATTACH_CONTENT_LOCATION] = decode_words(location)
    base = part.headers.get(b"content-base")
    if base:
        values[PR_ATTACH_CONTENT_BASE] = decode_words(base)
    description = part.description
    if description:
        values[CONTENT_DESCRIPTION] = decode_words(description)
    if part.disposition is not None and part.disposition != "attachment":
        values[CONTENT_DISPOSITION] = part.disposition
    if any(name not in _PLAIN_PARAMETERS for name in part.params):
        raw = part.headers.get(b"content-type")
        if raw is not None:
            values[RAW_CONTENT_TYPE] = " ".join(decode_words(raw).split())


def _embedded_subject(attachment: Attachment) -> str | None:
    embedded = attachment.embedded
    return None if embedded is None else embedded.get(PR_SUBJECT) or None
