"""Regeneration that leaves alone what was not changed (the idea of PidTagMimeSkeleton, MS-OXCMAIL section 2.2.3.3).

Where a header field, a recipient or an attachment was changed and the original octets are there, only what was changed
is written again: the other parts keep their octets, so that signed parts inside keep their signatures (RFC 1847).
"""

from __future__ import annotations

from typing import Final

from emulator.properties import Attachment, PropertyMessage
from emulator.property_tags import (
    PR_BODY,
    PR_BODY_CONTENT_ID,
    PR_BODY_CONTENT_LOCATION,
    PR_HTML,
    PR_INTERNET_CPID,
    PR_MESSAGE_CLASS,
    PR_RTF_COMPRESSED,
    PR_TRANSPORT_MESSAGE_HEADERS,
)
from protocols.mime import Part

from .layout import find_layout
from .mime_writer import Allow, Entity
from .reports import find_report
from .tnef_mail import find_tnef, is_beyond_mime

_BODY: Final = frozenset(
    {PR_BODY, PR_HTML, PR_RTF_COMPRESSED, PR_INTERNET_CPID, PR_BODY_CONTENT_ID, PR_BODY_CONTENT_LOCATION}
    | {PR_MESSAGE_CLASS, PR_TRANSPORT_MESSAGE_HEADERS}
)
_SEALED: Final = frozenset({"multipart/signed", "multipart/encrypted"})


class _Patch:
    """The parts of the original with the changes of the attachments table."""

    def __init__(self, message: PropertyMessage, rows: dict[int, Attachment], attached: set[int]) -> None:
        self.message = message
        self._rows = rows
        """Attachments by the identity of the part they were made from."""
        self._attached = attached
        """Identities of the parts that had become attachments."""

    def changed(self, part: Part) -> bool:
        """Whether a part in here was replaced or taken away."""
        for inner in part.walk():
            if id(inner) in self._attached:
                row = self._rows.get(id(inner))
                if row is None or row.modified:
                    return True
        return False

    def entity(self, part: Part, allow: Allow) -> Entity | None:
        """The entity for a part; None where it was taken away."""
        if not self.changed(part):
            return copied(part)
        if id(part) in self._attached:
            from .content_writer import attachment_entity  # noqa: PLC0415  # which is built on this module

            row = self._rows.get(id(part))
            return None if row is None else attachment_entity(row, allow)
        children = [entity for child in part.children if (entity := self.entity(child, allow)) is not None]
        if not children:
            return None
        # a seal over changed parts is broken; what was inside it stays
        kind = "multipart/mixed" if part.content_type in _SEALED else part.content_type
        entity = Entity(kind, children=children)
        entity.boundary = part.params.get("boundary", "")
        raw = part.headers.get(b"content-type")
        if raw is not None and raw.isascii() and kind == part.content_type:
            entity.content_type = raw
        return entity


def copied(part: Part) -> Entity:
    """A part as it stands, header and body."""
    entity = Entity(part.content_type)
    entity.header = part.header
    entity.content_type = part.headers.get(b"content-type") or b"text/plain; charset=us-ascii"
    entity.fields = [
        (name, value)
        for name, value in part.headers
        if name.lower().startswith(b"content-")
        and name.lower() not in {b"content-type", b"content-transfer-encoding", b"content-length", b"content-language"}
    ]
    entity.encoding = part.encoding if part.encoding.isascii() and part.encoding.isprintable() else "7bit"
    entity.data = part.body
    return entity


def skeleton_entity(message: PropertyMessage, allow: Allow) -> Entity | None:
    """The root entity with what was not changed as it stood, or None where all of it has to be generated."""
    original = message.original
    if original is None or not _BODY.isdisjoint(message.properties.changed):
        return None
    if any(is_beyond_mime(key) for key in message.properties.changed):
        return None
    root = message.structure_of_original
    layout = find_layout(root)
    if find_tnef(layout) is not None or (find_report(root) is not None and message.recipients.modified):
        return None
    body = root.body
    sealed = any(part.content_type in _SEALED for part in root.walk())
    if not (body.isascii() or allow & Allow.EIGHT_BIT_MIME or sealed) or b"\0" in body:
        return None
    if not message.attachments.modified:
        entity = copied(root)
        entity.header = None
        return entity
    rows = {id(row.source): row for row in message.attachments if row.source is not None}
    attached = {id(leaf.part) for leaf in layout.attachments}
    if layout.opaque is not None or any(leaf.appledouble is not None for leaf in layout.attachments):
        return None
    if not attached.issuperset(rows) or (not root.children and root.content_type in _SEALED):
        return None
    return _patched(_Patch(message, rows, attached), root, allow)


def _patched(patch: _Patch, root: Part, allow: Allow) -> Entity | None:
    from .content_writer import attachment_entity  # noqa: PLC0415  # which is built on this module

    entity = patch.entity(root, allow)
    added = [attachment_entity(row, allow) for row in patch.message.attachments if row.source is None]
    if entity is None:
        return None
    if added:
        if entity.media_type == "multipart/mixed" and entity.children is not None:
            entity.children += added
            return entity
        entity = Entity("multipart/mixed", children=[_as_child(entity, root), *added])
    elif entity.header is not None:
        entity.header = None
    return entity


def _as_child(entity: Entity, root: Part) -> Entity:
    """What was the root as a part: only its content fields go with it."""
    if entity.header is not None:
        wanted = [name for name, _ in root.headers if name.lower().startswith(b"content-")]
        entity.header = root.headers.fields(wanted) + b"\r\n"
    return entity
