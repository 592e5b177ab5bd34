"""Bodies and attachments → MIME entities: mixed > related > alternative > leaves (MS-OXCMAIL section 2.2.3.3)."""

from __future__ import annotations

import re
from typing import Final

from emulator.properties import ATTACH_EMBEDDED_MSG, Attachment, PropertyMessage, from_filetime
from emulator.property_tags import (
    PR_ATTACH_CONTENT_BASE,
    PR_ATTACH_CONTENT_ID,
    PR_ATTACH_CONTENT_LOCATION,
    PR_ATTACH_FLAGS,
    PR_BODY,
    PR_BODY_CONTENT_ID,
    PR_BODY_CONTENT_LOCATION,
    PR_CREATION_TIME,
    PR_HTML,
    PR_INTERNET_CPID,
    PR_LAST_MODIFICATION_TIME,
    PR_TEXT_ATTACHMENT_CHARSET,
    PR_TRANSPORT_MESSAGE_HEADERS,
    Key,
)
from protocols.mime import Part, parse
from protocols.mime.dates import format_date
from protocols.mime.words import encode_words, fold

from .attachments import (
    ATT_MHTML_REF,
    CONTENT_DESCRIPTION,
    CONTENT_DISPOSITION,
    DELIVERY_STATUS,
    MAC_INFO,
    RAW_CONTENT_TYPE,
)
from .body import crlf_octets
from .codepages import UTF_8, charset_of, encode_text
from .mime_writer import Allow, Entity, encode_leaf, format_value
from .opaque import is_opaque_message, opaque_entity
from .report_writer import report_entity, report_type
from .skeleton import skeleton_entity
from .tnef_mail import needs_tnef, tnef_entity

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+\-]{1,127}/[a-z0-9!#$&^_.+\-]{1,127}\Z")
_MIXED_KINDS: Final = frozenset({"multipart/digest", "multipart/parallel"})
_NO_WRAPPERS: Final = frozenset(
    f"multipart/{kind}"
    for kind in ("signed", "encrypted", "report", "related", "appledouble", "form-data", "byteranges")
)
"""Kinds that say something of their parts which a generated multipart might not hold."""
_DEFAULTS: Final = {"charset": "us-ascii"}
_TOKEN: Final = re.compile(r"[a-z0-9!#$&^_.+\-]{1,60}\Z")


def content_entity(message: PropertyMessage, allow: Allow, *, tnef: bool = True) -> Entity:
    """The root entity: bodies and attachments of a message."""
    if is_opaque_message(message):
        return opaque_entity(message, allow)
    kept = skeleton_entity(message, allow)
    if kept is not None:
        return kept
    body = body_entity(message, allow)
    if tnef and needs_tnef(message):
        return tnef_entity(message, body, allow)
    related = [a for a in message.attachments if (a.get(PR_ATTACH_FLAGS) or 0) & ATT_MHTML_REF]
    others = [a for a in message.attachments if not (a.get(PR_ATTACH_FLAGS) or 0) & ATT_MHTML_REF]
    parts = [attachment_entity(attachment, allow) for attachment in others]
    if related:
        inner = [attachment_entity(attachment, allow, related=True) for attachment in related]
        if body is None and parts:
            body = parts.pop(0)
        body = _with_related(body, inner) if body is not None else Entity("multipart/mixed", children=inner)
    report = report_type(message)
    if report:
        root = report_entity(message, report, body, parts)
    elif body is None and len(parts) == 1:
        root = parts[0]
    elif body is not None and not parts:
        root = body
    elif parts:
        root = Entity("multipart/mixed", children=([body] if body is not None else []) + parts)
    else:
        root = Entity("text/plain")
    old = _old_root(message)
    if old is not None:
        root = _wrapped(root, old)
    if root.children is None and not root.media_type.startswith("text/"):
        root.fields = [item for item in root.fields if item != (b"Content-Disposition", b"attachment")]
    _close(root, allow, "" if old is None else old.encoding)
    if old is not None:
        _keep_root(root, old)
    return root


def _wrapped(root: Entity, old: Part) -> Entity:
    """The root inside a multipart of the old kind, where the old one held no more than this."""
    kind = old.content_type
    if root.media_type == kind or old.type != "multipart" or not _TOKEN.match(old.subtype) or kind in _NO_WRAPPERS:
        return root
    if kind == "multipart/mixed" or (kind == "multipart/alternative" and root.media_type != "multipart/mixed"):
        return Entity(kind, children=[root])
    if kind not in _MIXED_KINDS and kind != "multipart/alternative":
        # an unknown kind is mixed (RFC 2046 section 5.1.3)
        if root.media_type == "multipart/mixed":
            root.media_type = kind
            return root
        return Entity(kind, children=[root])
    return root


def _with_related(body: Entity, inner: list[Entity]) -> Entity:
    """The HTML body with what belongs to it, inside the alternative where there is one."""
    if body.media_type == "multipart/alternative" and body.children:
        root = body.children[-1]
        body.children[-1] = Entity("multipart/related", [("type", root.media_type)], children=[root, *inner])
        return body
    return Entity("multipart/related", [("type", body.media_type)], children=[body, *inner])


def body_entity(message: PropertyMessage, allow: Allow) -> Entity | None:
    """The body in its forms, the best last (RFC 2046 section 5.1.4); None where the message has none."""
    page = int(message.get(PR_INTERNET_CPID, 0)) or UTF_8
    text = message.get(PR_BODY)
    html = message.get(PR_HTML)
    forms: list[Entity] = []
    if text is not None:
        charset, octets = encode_text(text, page if html is None else UTF_8)
        forms.append(_text_entity("text/plain", octets, charset, allow))
    if html is not None:
        forms.append(_text_entity("text/html", html, charset_of(page), allow))
    if not forms:
        return None
    body = forms[-1]
    content_id = message.get(PR_BODY_CONTENT_ID)
    if content_id:
        body.add(b"Content-ID", _bracketed(content_id))
    location = message.get(PR_BODY_CONTENT_LOCATION)
    if location:
        body.add(b"Content-Location", encode_words(location, len("Content-Location: ")))
    return body if len(forms) == 1 else Entity("multipart/alternative", children=forms)


def _bracketed(content_id: str) -> bytes:
    text = f"<{content_id}>"
    return text.encode("ascii") if text.isascii() and text.isprintable() else encode_words(text, 12)


def _text_entity(media_type: str, octets: bytes, charset: str, allow: Allow) -> Entity:
    entity = Entity(media_type, [("charset", charset)])
    entity.encoding, entity.data = encode_leaf(octets, allow, text=True, closed=False)
    entity.raw = octets
    return entity


def attachment_entity(attachment: Attachment, allow: Allow, *, related: bool = False) -> Entity:
    """One attachment with its fields."""
    embedded = attachment.embedded if attachment.method == ATTACH_EMBEDDED_MSG else None
    media_type = attachment.content_type
    if embedded is not None:
        from .outbound import outbound  # noqa: PLC0415  # messages contain messages

        octets = outbound(embedded, allow=allow)
        entity = Entity(media_type if media_type == "message/global" else "message/rfc822")
        entity.encoding = "7bit" if octets.isascii() else "8bit"
        entity.data = octets
    else:
        octets = attachment.data
        entity = Entity(media_type if _MEDIA_TYPE.match(media_type) else "application/octet-stream")
        _encode_attachment(entity, attachment, octets, allow)
    _attachment_type(entity, attachment)
    _attachment_fields(entity, attachment, related=related)
    info = attachment.get(MAC_INFO)
    if not isinstance(info, bytes) or embedded is not None:
        return entity
    header = Entity("application/applefile", [("name", attachment.name)] if attachment.name else [])
    header.encoding, header.data = encode_leaf(info, allow, text=False, closed=False)
    return Entity("multipart/appledouble", children=[header, entity])


def _encode_attachment(entity: Entity, attachment: Attachment, octets: bytes, allow: Allow) -> None:
    charset = attachment.get(PR_TEXT_ATTACHMENT_CHARSET)
    text = entity.media_type.startswith("text/")
    if text and charset:
        entity.params.append(("charset", charset))
    if entity.media_type == DELIVERY_STATUS:
        octets = crlf_octets(octets)
    plain = text or entity.media_type.startswith("message/")
    liked = "7bit" if entity.media_type in _UNENCODED else ""
    entity.raw = octets
    entity.encoding, entity.data = encode_leaf(octets, allow, text=plain, closed=False, liked=liked)
    if entity.media_type in _UNENCODED and entity.encoding not in {"7bit", "8bit"}:
        # RFC 2046 section 5.2 forbids to encode these: what is no lines travels as binary
        entity.encoding, entity.data = ("8bit" if not octets.isascii() else "7bit"), octets


_UNENCODED: Final = frozenset({"message/partial", "message/external-body", DELIVERY_STATUS})


def _attachment_type(entity: Entity, attachment: Attachment) -> None:
    """The Content-Type as it was, where it says more than properties do."""
    raw = attachment.get(RAW_CONTENT_TYPE)
    if not raw or not raw.isascii() or not raw.isprintable() or entity.media_type.startswith("multipart/"):
        return
    probe = parse(b"Content-Type: " + raw.encode("ascii") + b"\r\n\r\n")
    if probe.content_type == entity.media_type and probe.params.get("charset") == dict(entity.params).get("charset"):
        entity.content_type = fold(raw.encode("ascii"), len("Content-Type: "))


def _attachment_fields(entity: Entity, attachment: Attachment, *, related: bool) -> None:
    key: Key
    name = attachment.name
    disposition = attachment.get(CONTENT_DISPOSITION, "")
    if not _TOKEN.match(disposition):
        disposition = "" if related else "attachment"
    if disposition:
        params = [("filename", name)] if name else []
        for label, key in (("creation-date", PR_CREATION_TIME), ("modification-date", PR_LAST_MODIFICATION_TIME)):
            value = attachment.get(key)
            moment = None if value is None else from_filetime(value)
            if moment is not None:
                params.append((label, format_date(moment).decode("ascii")))
        value = format_value(disposition.encode("ascii"), params, len("Content-Disposition: "))
        entity.add(b"Content-Disposition", value)
    elif name:
        entity.params = [item for item in entity.params if item[0] != "name"] + [("name", name)]
    content_id = attachment.get(PR_ATTACH_CONTENT_ID)
    if content_id:
        entity.add(b"Content-ID", _bracketed(content_id))
    texts: tuple[tuple[bytes, Key], ...] = (
        (b"Content-Location", PR_ATTACH_CONTENT_LOCATION),
        (b"Content-Base", PR_ATTACH_CONTENT_BASE),
        (b"Content-Description", CONTENT_DESCRIPTION),
    )
    for field, key in texts:
        text = attachment.get(key)
        if text:
            entity.add(field, encode_words(text, len(field) + 2))


def _close(root: Entity, allow: Allow, liked: str) -> None:
    """A message has to end with CRLF: a leaf that is the root is encoded so that it does."""
    if root.children is None and root.raw is not None:
        text = root.media_type.startswith(("text/", "message/"))
        root.encoding, root.data = encode_leaf(root.raw, allow, text=text, closed=True, liked=liked)


def _old_root(message: PropertyMessage) -> Part | None:
    """What the old header said of the root entity."""
    text = message.get(PR_TRANSPORT_MESSAGE_HEADERS)
    return parse(text.encode("utf-8", "surrogateescape") + b"\r\n") if text else None


def _keep_root(root: Entity, old: Part) -> None:
    """Content-Type and boundary of the old header, where they still say the same."""
    raw = next((value for name, _, value in old.headers.raw if name.lower() == b"content-type"), None)
    if raw is None or not raw.isascii():
        return
    if root.media_type == "multipart/mixed" and old.content_type in _MIXED_KINDS:
        root.media_type = old.content_type
    if old.content_type != root.media_type:
        return
    params = dict(root.params)
    if root.children is not None:
        root.boundary = old.params.get("boundary", "")
        root.content_type = raw.strip(b" \r\n")
    elif all(old.params.get(name, _DEFAULTS.get(name, "")).lower() == value.lower() for name, value in params.items()):
        root.content_type = raw.strip(b" \r\n")
