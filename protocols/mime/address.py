"""Address lists: RFC 5322 section 3.4 with section 4.4 (obsolete forms), lenient on what is found in real fields.

Values stay raw octets: RFC 2047 is not decoded, quoting and comments are taken away (RFC 3501 section 7.4.2, ENVELOPE).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

_WHITE, _SPECIAL, _ATOM, _QUOTED, _LITERAL, _COMMENT, _STRAY = range(1, 8)
"""Kinds of lexemes: numbers of the groups of the patterns below."""

_QUOTED_STRING = rb"\"[^\"\\]*+(?:\\(?s:.)[^\"\\]*+)*+\""
_DOMAIN_LITERAL = rb"\[[^\]\\]*+(?:\\(?s:.)[^\]\\]*+)*+\]"
_NEVER = rb"(?!)"


def _lexeme(quoted: bool, literal: bool, comment: bool) -> re.Pattern[bytes]:
    """White space and what stands behind it."""
    ordinary = rb"[^ \t\r\n<>@,:;\"(%b]" % (rb"\[" if literal else b"")
    if not comment:  # only one without another one inside, which is seen at once
        ordinary = rb"(?:%b|\((?![^()\\]*+\)))" % ordinary
    return re.compile(
        rb"([ \t\r\n]*+)(?:([<>@,:;])|(%b++)|(%b)|(%b)|(\([^()\\]*+\))|((?s:.))|\Z)"
        % (ordinary, _QUOTED_STRING if quoted else _NEVER, _DOMAIN_LITERAL if literal else _NEVER)
    )


_LEXEMES = {
    (quoted, literal, comment): _lexeme(quoted, literal, comment)
    for quoted in (True, False)
    for literal in (True, False)
    for comment in (True, False)
}
"""By whether a quotation mark, a square bracket, a parenthesis can still open something that is closed somewhere."""
_SIMPLE_ATOM = rb"[^ \t\r\n<>@,:;\"\[(]++"
_SIMPLE_ADDRESS = rb"(?:(%b)|\"([^\"\\]*+)\")@(%b|\[[^\[\]\\]*+\])" % (_SIMPLE_ATOM, _SIMPLE_ATOM)
_SIMPLE = re.compile(
    rb"[ \t\r\n]*+(?:(?:\"([^\"\\]*+)\"|(%b(?: %b)*+))?[ \t]*+<%b>|%b(?:[ \t]++\(([^()\\]*+)\))?)[ \t\r\n]*+(?:[,;]|\Z)"
    % (_SIMPLE_ATOM, _SIMPLE_ATOM, _SIMPLE_ADDRESS, _SIMPLE_ADDRESS)
)
"""An element as nearly all are: `name <mailbox@host>`, `"name" <mailbox@host>`, `mailbox@host` or
`mailbox@host (name)`."""
_COMMENT_MARK = re.compile(rb"\([^()\\]*+\)|[()]|\\(?s:.)")

LEXEMES_MAX = 60_000
"""Words and marks of one field body, behind its simple elements. What lies beyond is not looked into."""
COMMENT_DEPTH_MAX = 50


class Address(NamedTuple):
    """One element of an address list, in the order of an IMAP ENVELOPE address.

    `host` None: the start of a group (its name in `mailbox`), or, `mailbox` None too, its end. A mailbox that names no
    domain has an empty `host`. `name` is the display name, else the comment beside the address.
    """

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None

    @property
    def is_group_start(self) -> bool:
        """Whether a group begins here."""
        return self.host is None and self.mailbox is not None

    @property
    def is_group_end(self) -> bool:
        """Whether a group ends here."""
        return self.host is None and self.mailbox is None

    @property
    def email(self) -> bytes:
        """`mailbox@host` without quoting; the mailbox alone where there is no domain; empty for group marks."""
        if self.host:
            return (self.mailbox or b"") + b"@" + self.host
        return b"" if self.host is None else self.mailbox or b""


_Piece = tuple[int, bytes, bool]
"""Kind, value without its quoting, whether white space or a comment stood before it."""


def _pieces(value: bytes, position: int) -> Iterator[_Piece]:
    """Pieces of a field body from `position` on.

    What never ends is read as ordinary characters, so that time stays linear: a stray quotation mark goes, a stray
    bracket or parenthesis belongs to an atom.
    """
    spaced = False
    quoted = literal = comment = True
    left = LEXEMES_MAX
    while position >= 0:
        start, position = position, -1
        for match in islice(_LEXEMES[quoted, literal, comment].finditer(value, start), left):
            left -= 1
            kind = match.lastindex
            if match.end(1) != match.start():
                spaced = True
            if kind == _WHITE:  # the end
                return
            text = match[kind]  # type: ignore[index]  # the first group takes part in every match
            if kind == _STRAY:
                if text == b'"' and not quoted:
                    continue
                position = match.end()
                if text == b'"':
                    quoted = False
                elif text == b"[":
                    position, literal = position - 1, False
                elif (end := _comment_end(value, position - 1)) >= 0:
                    yield _COMMENT, value[position : end - 1], True
                    position, spaced = end, True
                else:
                    position, comment = position - 1, False
                break
            if kind == _COMMENT:
                yield _COMMENT, text[1:-1], True
                spaced = True
                continue
            yield kind, unescape(text[1:-1]) if kind == _QUOTED else text, spaced  # type: ignore[misc]
            spaced = False


def _comment_end(value: bytes, start: int) -> int:
    """Behind the comment that begins at `start`; -1 where it does not end, or is too deep."""
    depth = 0
    for match in _COMMENT_MARK.finditer(value, start):
        mark = match[0]
        if mark == b"(":
            depth += 1
            if depth > COMMENT_DEPTH_MAX:
                return -1
        elif mark == b")":
            depth -= 1
            if depth == 0:
                return match.end()
        elif depth == 0:
            return match.end()
    return -1


def unescape(value: bytes) -> bytes:
    """Quoted pairs resolved (RFC 5322 section 3.2.1)."""
    if b"\\" not in value:
        return value
    pieces = value.split(b"\\\\")
    stray = b"\\" if pieces[-1].endswith(b"\\") else b""
    return b"\\".join([piece.replace(b"\\", b"") for piece in pieces]) + stray


def _phrase(pieces: list[_Piece]) -> bytes | None:
    if not pieces:
        return None
    parts: list[bytes] = []
    for _, value, spaced in pieces:
        if parts and spaced:
            parts.append(b" ")
        parts.append(value)
    return b"".join(parts)


def _split_at(pieces: list[_Piece]) -> int:
    for index in range(len(pieces) - 1, -1, -1):
        if pieces[index][0] == _SPECIAL:
            return index
    return -1


def _values(pieces: list[_Piece]) -> bytes:
    return b"".join([value for _, value, _ in pieces])


def _bare(pieces: list[_Piece], comment: bytes | None) -> Address | None:
    """An address without angle brackets, with whatever words stand around it."""
    if not pieces:
        return None
    at = _split_at(pieces)
    if at < 0:
        return Address(comment, None, _phrase(pieces), b"")
    if at == 1 and len(pieces) == 3:
        return Address(comment, None, pieces[0][1], pieces[2][1])
    start = at
    while start > 0:
        _, value, spaced = pieces[start]
        if start < at and spaced and not (pieces[start - 1][1][-1:] == b"." or value[:1] == b"."):
            break
        start -= 1
    end = at + 1
    while end < len(pieces):
        _, value, spaced = pieces[end]
        if end > at + 1 and spaced and not (value[:1] == b"." or pieces[end - 1][1][-1:] == b"."):
            break
        end += 1
    words = pieces[:start] + pieces[end:]
    return Address(_phrase(words) if words else comment, None, _values(pieces[start:at]), _values(pieces[at + 1 : end]))


class _List:
    """The elements of an address list."""

    __slots__ = ("comment", "found", "in_group", "pending", "pieces")

    def __init__(self, found: list[Address]) -> None:
        self.found = found
        self.pieces: list[_Piece] = []
        """Words of the element that is being read."""
        self.pending: Address | None = None
        """The element, where it had angle brackets."""
        self.comment: bytes | None = None
        """The last comment passed over."""
        self.in_group = False

    def end_element(self, special: bytes) -> None:
        """A comma, a semicolon, or (no special) the end of the list."""
        address = self.pending or _bare(self.pieces, self.comment)
        if self.pending is not None and self.pending.name is None and self.comment:
            address = self.pending._replace(name=self.comment)
        if address is not None:
            self.found.append(address)
        self.pieces, self.pending, self.comment = [], None, None
        if self.in_group and special != b",":
            self.found.append(Address(None, None, None, None))
            self.in_group = False

    def angle(self, all_pieces: Iterator[_Piece]) -> None:
        """What stands after `<`: route, mailbox and host; a comma or semicolon inside ends it early."""
        pieces: list[_Piece] = []
        route: bytes | None = None
        name = _phrase(self.pieces)
        ended = b""
        for piece in all_pieces:
            kind, value, _ = piece
            if kind == _COMMENT:
                self.comment = unescape(value).strip()
                continue
            if kind == _SPECIAL and value != b"@":
                if value == b">":
                    break
                in_route = pieces and pieces[0][0] == _SPECIAL and route is None
                if value == b":" and in_route:
                    route, pieces = _values(pieces), []
                    continue
                if value in {b",", b";"} and not (value == b"," and in_route):
                    ended = value
                    break
                if value == b"<":
                    continue
            pieces.append(piece)
        at = _split_at(pieces)
        if at < 0:
            self.pending = Address(name, route, _phrase(pieces) or b"", b"")
        else:
            self.pending = Address(name, route, _values(pieces[:at]), _values(pieces[at + 1 :]))
        if ended:
            self.comment = None
            self.end_element(ended)

    def read(self, value: bytes, position: int, addresses_max: int) -> None:
        """All elements from `position` on."""
        all_pieces = _pieces(value, position)
        for piece in all_pieces:
            kind, text, spaced = piece
            if kind == _COMMENT:
                self.comment = unescape(text).strip()
            elif kind != _SPECIAL:
                if self.pending is None:
                    self.pieces.append(piece)
            elif text in {b",", b";"}:
                self.end_element(text)
                if len(self.found) >= addresses_max:
                    return
            elif text == b"<" and self.pending is None:
                self.angle(all_pieces)
            elif text in {b"<", b">"} or self.pending is not None:
                continue
            elif text == b":":
                if not self.in_group and _split_at(self.pieces) < 0:
                    self.found.append(Address(None, None, _phrase(self.pieces) or b"", None))
                    self.pieces, self.comment = [], None
                    self.in_group = True
                else:
                    self.pieces.append((_ATOM, text, spaced))
            else:
                self.pieces.append(piece)
        self.end_element(b"")


def parse_addresses(value: bytes, addresses_max: int = 50_000) -> list[Address]:
    """Mailboxes and groups of an unfolded field body. Never raises; linear.

    Stops after `addresses_max` elements and after LEXEMES_MAX words and marks.
    """
    found: list[Address] = []
    position = 0
    while len(found) < addresses_max:
        match = _SIMPLE.match(value, position)
        if match is None:
            break
        quoted, phrase, atom, string, host, bare, bare_string, bare_host, comment = match.groups()
        if host is not None:
            found.append(Address(phrase if quoted is None else quoted, None, string if atom is None else atom, host))
        else:
            name = None if comment is None else comment.strip()
            found.append(Address(name, None, bare_string if bare is None else bare, bare_host))
        position = match.end()
    if position < len(value) and len(found) < addresses_max:
        _List(found).read(value, position, addresses_max)
        del found[addresses_max:]
    return found


_QUOTED_LOCAL_PART = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"\Z')
_DOT_ATOM = re.compile(rb"[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~\x80-\xff]+(?:\.[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~\x80-\xff]+)*\Z")


def format_mailbox(email: bytes) -> bytes:
    """An addr-spec fit for a header: the local part is quoted where RFC 5322 section 3.4.1 asks for it."""
    mailbox, at, host = email.rpartition(b"@")
    if not at:
        mailbox, host = host, b""
    mailbox = mailbox.translate(None, b"\r\n\0")
    host = host.translate(None, b'\r\n\0 <>,;:"()')
    if mailbox and not _DOT_ATOM.match(mailbox) and not _QUOTED_LOCAL_PART.match(mailbox):
        mailbox = quote(mailbox)
    return mailbox + at + host


def quote(value: bytes) -> bytes:
    """A quoted string (RFC 5322 section 3.2.4)."""
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
