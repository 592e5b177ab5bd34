"""ENVELOPE and BODYSTRUCTURE of a message as octets (RFC 9051 section 7.5.2), computed once for each content."""

from __future__ import annotations

from protocols.mime.address import parse_addresses
from protocols.mime.headers import HeaderBlock
from protocols.mime.structure import Part

QUOTED_OCTETS_MAX = 4096
ADDRESSES_MAX = 10_000

_UNQUOTABLE = frozenset(b"\r\n\0")


def nstring(octets: bytes | None) -> bytes:
    """A quoted string, a literal where quoting cannot do it, or NIL."""
    if octets is None:
        return b"NIL"
    return string(octets)


def string(octets: bytes) -> bytes:
    """A quoted string, or a literal. 8-bit goes into literals, so that it is legal for every peer."""
    if not octets.isascii() or len(octets) > QUOTED_OCTETS_MAX or not _UNQUOTABLE.isdisjoint(octets):
        if 0 in octets:
            octets = octets.replace(b"\0", b"\x80")  # CHAR8 excludes NUL
        return b"{%d}\r\n%s" % (len(octets), octets)
    if b"\\" in octets or b'"' in octets:
        octets = octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + octets + b'"'


# --- ENVELOPE ---------------------------------------------------------------------------------------------------------


def envelope(part: Part) -> bytes:
    """`("date" "subject" from sender reply-to to cc bcc "in-reply-to" "message-id")`."""
    headers = part.headers
    senders = _addresses(headers, b"from")
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(headers.get(b"date")),
        nstring(headers.get(b"subject")),
        senders,
        _addresses(headers, b"sender") if _filled(headers, b"sender") else senders,
        _addresses(headers, b"reply-to") if _filled(headers, b"reply-to") else senders,
        _addresses(headers, b"to"),
        _addresses(headers, b"cc"),
        _addresses(headers, b"bcc"),
        nstring(headers.get(b"in-reply-to")),
        nstring(headers.get(b"message-id")),
    )


def _filled(headers: HeaderBlock, name: bytes) -> bool:
    """Whether the field is there and says something: an empty Sender or Reply-To counts as absent (RFC 9051 7.5.2)."""
    return bool(headers.get(name))


def _addresses(headers: HeaderBlock, name: bytes) -> bytes:
    values = headers.get_all(name)
    if not values:
        return b"NIL"
    out = [
        b"(%b %b %b %b)" % (nstring(name), nstring(route), nstring(mailbox), nstring(host))
        for value in values
        for name, route, mailbox, host in parse_addresses(value, ADDRESSES_MAX)
    ]
    return b"(" + b"".join(out) + b")" if out else b"NIL"


# --- BODY and BODYSTRUCTURE -------------------------------------------------------------------------------------------


def body(part: Part) -> bytes:
    """BODY: the structure without extension data."""
    return _structure(part, extended=False)


def bodystructure(part: Part) -> bytes:
    """BODYSTRUCTURE."""
    return _structure(part, extended=True)


def _structure(part: Part, *, extended: bool) -> bytes:
    if part.type == "multipart":
        return _multipart(part, extended)
    pieces = [
        string(part.type.encode("latin-1")),
        string(part.subtype.encode("latin-1")),
        _parameters(_content_parameters(part)),
        nstring(part.content_id),
        nstring(part.description),
        string(part.encoding.encode("ascii", "replace")),
        b"%d" % part.size,
    ]
    if part.message is not None:
        pieces += [envelope(part.message), _structure(part.message, extended=extended), b"%d" % part.lines]
    elif part.type == "text":
        pieces.append(b"%d" % part.lines)
    elif part.type == "message" and part.subtype in ("rfc822", "global"):
        # a message that could not be looked into: it has the shape that the grammar wants all the same
        pieces += [_EMPTY_ENVELOPE, _EMPTY_BODY_EXTENDED if extended else _EMPTY_BODY, b"%d" % part.lines]
    if extended:
        pieces += [nstring(part.md5), *_extension(part)]
    return b"(" + b" ".join(pieces) + b")"


_EMPTY_ENVELOPE = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
_EMPTY_BODY = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)'
_EMPTY_BODY_EXTENDED = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)'


def _multipart(part: Part, extended: bool) -> bytes:
    inner = b"".join([_structure(child, extended=extended) for child in part.children])
    if not inner:
        inner = _EMPTY_BODY_EXTENDED if extended else _EMPTY_BODY
    out = b"(" + inner + b" " + string(part.subtype.encode("latin-1"))
    if extended:
        out += b" " + b" ".join([_parameters(part.raw_params), *_extension(part)])
    return out + b")"


def _content_parameters(part: Part) -> list[tuple[bytes, bytes]]:
    parameters = part.raw_params
    if part.type == "text" and not any(name in (b"charset", b"charset*") for name, _ in parameters):
        return [*parameters, (b"charset", b"us-ascii")]  # RFC 2045 section 5.2, RFC 2046 section 4.1.2: the default
    return parameters


def _parameters(parameters: list[tuple[bytes, bytes]]) -> bytes:
    if not parameters:
        return b"NIL"
    return b"(" + b" ".join([string(name) + b" " + string(value) for name, value in parameters]) + b")"


def _extension(part: Part) -> list[bytes]:
    """Disposition, language and location."""
    word = part.disposition
    if word is None:
        disposition = b"NIL"
    else:
        parameters = _parameters(part.raw_disposition_params)
        disposition = b"(" + string(word.encode("ascii", "replace")) + b" " + parameters + b")"
    languages = part.language
    tags = b" ".join([string(tag.encode("ascii", "replace")) for tag in languages])
    language = b"(" + tags + b")" if tags else b"NIL"
    return [disposition, language, nstring(part.location)]
