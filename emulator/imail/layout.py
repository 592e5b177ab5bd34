"""Which parts of a MIME message are its body and which are attachments (MS-OXCMAIL section 2.1.3.3 and 2.1.3.4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from protocols.mime import Part
from protocols.mime.words import decode_words

BODY_SUBTYPES = {
    "plain": "plain",
    "html": "html",
    "enriched": "enriched",
    "richtext": "enriched",
    "rtf": "rtf",
    "x-rtf": "rtf",
}


@dataclass(slots=True)
class Leaf:
    """A part that becomes an attachment."""

    part: Part
    related: bool = False
    """Whether it belongs to an HTML body (multipart/related)."""
    appledouble: Part | None = None
    """The resource fork beside it (RFC 1740)."""


@dataclass(slots=True)
class Layout:
    """Body parts by kind, in order, and attachments in order."""

    bodies: dict[str, list[Part]] = field(default_factory=dict)
    attachments: list[Leaf] = field(default_factory=list)
    opaque: Part | None = None
    """A part whose octets are carried unchanged: signed or encrypted content that makes up the whole message."""

    def body(self, kind: str) -> list[Part]:
        """Parts of one kind (`plain`, `html`, `enriched`, `rtf`)."""
        return self.bodies.get(kind, [])


def file_name(part: Part) -> str:
    """Name a part gives to its content: Content-Disposition's filename, else Content-Type's name; "" for none."""
    name = part.disposition_params.get("filename") or part.params.get("name") or ""
    if "=?" in name:
        name = decode_words(name)
    return name.replace("\0", "").strip()


def is_opaque(part: Part) -> bool:
    """Whether the content is signed or encrypted (RFC 1847, RFC 8551): a changed octet would break it."""
    if part.type == "multipart":
        return part.subtype in {"signed", "encrypted"} and bool(part.children)
    return part.type == "application" and part.subtype in {"pkcs7-mime", "x-pkcs7-mime"}


def find_layout(root: Part) -> Layout:
    """Sort the parts of a message. No decoding takes place."""
    layout = Layout()
    if is_opaque(root):
        layout.opaque = root
        if root.subtype == "signed":
            # what is signed can be read; it is shown, but never written again
            inner = Layout()
            _visit(root.children[0], inner, first=True)
            layout.bodies = inner.bodies
        return layout
    _visit(root, layout, first=True)
    # what belongs to the body stands before what is attached to the message, as it does in generated MIME
    layout.attachments.sort(key=lambda leaf: not leaf.related)
    return layout


def _visit(part: Part, layout: Layout, *, first: bool = False, related: bool = False) -> None:
    if part.children:
        if part.subtype == "alternative":
            _visit_alternative(part, layout, first=first, related=related)
        elif part.subtype == "related":
            _visit_related(part, layout, first=first)
        elif (
            part.subtype == "appledouble"
            and len(part.children) == 2
            and part.children[0].content_type == "application/applefile"
            and not part.children[1].children
        ):
            layout.attachments.append(Leaf(part.children[1], related, part.children[0]))
        else:
            for child in part.children:
                _visit(child, layout, first=first, related=related)
                first = False
        return
    kind = BODY_SUBTYPES.get(part.subtype) if part.type == "text" else None
    if kind is not None and not related and _is_body(part, layout, kind, first=first):
        layout.bodies.setdefault(kind, []).append(part)
    elif part.message is not None or part.size or (part.headers.raw and part.type != "multipart"):
        layout.attachments.append(Leaf(part, related))


def _is_body(part: Part, layout: Layout, kind: str, *, first: bool) -> bool:
    if part.disposition == "attachment":
        return False
    if not file_name(part):
        return True
    # a named text is a file, except where it is all there is to read
    return first and not layout.bodies and part.disposition is None


def _visit_alternative(part: Part, layout: Layout, *, first: bool, related: bool) -> None:
    """The last of several alternatives of one kind is the best (RFC 2046 section 5.1.4)."""
    inner = Layout()
    for child in part.children:
        branch = Layout()
        _visit(child, branch, first=first or bool(not inner.bodies), related=False)
        for kind, parts in branch.bodies.items():
            # an empty last part is a stray boundary line, not a better form of the message
            if kind not in inner.bodies or any(part.size > 4 for part in parts):
                inner.bodies[kind] = parts
        inner.attachments += branch.attachments
    for kind, parts in inner.bodies.items():
        layout.bodies.setdefault(kind, []).extend(parts)
    for leaf in inner.attachments:
        leaf.related = leaf.related or related
    layout.attachments += inner.attachments


def _visit_related(part: Part, layout: Layout, *, first: bool) -> None:
    """The root is the `start` part, else the first (RFC 2387 section 3.2); the others belong to it.

    Where `type` says that the first is not meant, it is the first of that type.
    """
    start = part.params.get("start", "").strip()
    kind = part.params.get("type", "").strip().lower()
    root = part.children[0]
    if start:
        wanted = start.encode("utf-8", "replace").strip(b"<>")
        for child in part.children:
            content_id = child.content_id
            if content_id is not None and content_id.strip().strip(b"<>") == wanted:
                root = child
                break
    elif kind and root.content_type != kind:
        root = next((child for child in part.children if child.content_type == kind), root)
    _visit(root, layout, first=first)
    for child in part.children:
        if child is not root:
            _visit(child, layout, related=True)
