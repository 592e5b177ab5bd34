"""Address lists: RFC 5322 section 3.4 with section 4.4 (obsolete forms), lenient on what is found in real fields.

Values stay raw octets: RFC 2047 is not decoded, quoting and comments are taken away (RFC 3501 section 7.4.2, ENVELOPE).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LEXEME = re.compile(rb"[ \t\r\n]++|[<>@,:;]|[^ \t\r\n<>@,:;\"\[(]++")
_ENCLOSED = {
    b'"': re.compile(rb"\"[^\"\\]*+(?:\\(?s:.)[^\"\\]*+)*+\""),
    b"[": re.compile(rb"\[[^\]\\]*+(?:\\(?s:.)[^\]\\]*+)*+\]"),
}
_COMMENT_MARK = re.compile(rb"[()]|\\(?s:.)")
_QUOTED_PAIR = re.compile(rb"\\((?s:.))")

_ATOM, _QUOTED, _LITERAL, _AT = range(4)


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


class _Piece(NamedTuple):
    kind: int
    value: bytes
    spaced: bool
    """Whether white space or a comment stood before it."""


class _Lexer:
    """Pieces of a field body. Constructs that never end are read as ordinary characters, so that time stays linear."""

    __slots__ = ("_broken", "_position", "_value", "comment")

    def __init__(self, value: bytes) -> None:
        self._value = value
        self._position = 0
        self._broken = b""
        self.comment: bytes | None = None
        """The last comment passed over."""

    def next(self) -> _Piece | None:
        """The next piece; specials are pieces of kind _AT with their octet as value. None at the end."""
        value = self._value
        spaced = False
        while self._position < len(value):
            match = _LEXEME.match(value, self._position)
            if match is not None:
                self._position = match.end()
                text = match[0]
                octet = text[0]
                if octet in b" \t\r\n":
                    spaced = True
                elif octet in b"<>@,:;":
                    return _Piece(_AT, text, spaced)
                else:
                    return _Piece(_ATOM, text, spaced)
                continue
            opening = value[self._position : self._position + 1]
            if opening not in self._broken:
                if opening == b"(":
                    if self._skip_comment():
                        spaced = True
                        continue
                elif (enclosed := _ENCLOSED[opening].match(value, self._position)) is not None:
                    self._position = enclosed.end()
                    text = enclosed[0]
                    if opening == b"[":
                        return _Piece(_LITERAL, text, spaced)
                    return _Piece(_QUOTED, unescape(text[1:-1]), spaced)
            self._broken += opening if opening not in self._broken else b""
            self._position += 1
            if opening != b'"':
                return _Piece(_ATOM, opening, spaced)
        return None

    def _skip_comment(self) -> bool:
        depth = 0
        for match in _COMMENT_MARK.finditer(self._value, self._position):
            octet = match[0]
            if octet == b"(":
                depth += 1
            elif octet == b")":
                depth -= 1
                if depth == 0:
                    self.comment = unescape(self._value[self._position + 1 : match.start()]).strip()
                    self._position = match.end()
                    return True
        return False


def unescape(value: bytes) -> bytes:
    """Quoted pairs resolved (RFC 5322 section 3.2.1)."""
    return _QUOTED_PAIR.sub(rb"\1", value) if b"\\" in value else value


def _phrase(pieces: list[_Piece]) -> bytes | None:
    if not pieces:
        return None
    parts: list[bytes] = []
    for piece in pieces:
        if parts and piece.spaced:
            parts.append(b" ")
        parts.append(piece.value)
    return b"".join(parts)


def _split_at(pieces: list[_Piece]) -> int:
    for index in range(len(pieces) - 1, -1, -1):
        if pieces[index].kind == _AT:
            return index
    return -1


def _bare(pieces: list[_Piece], comment: bytes | None) -> Address | None:
    """An address without angle brackets, with whatever words stand around it."""
    if not pieces:
        return None
    at = _split_at(pieces)
    if at < 0:
        return Address(comment, None, _phrase(pieces), b"")
    start = at
    while start > 0:
        piece = pieces[start - 1]
        if start < at and pieces[start].spaced and not (piece.value[-1:] == b"." or pieces[start].value[:1] == b"."):
            break
        start -= 1
    end = at + 1
    while end < len(pieces):
        piece = pieces[end]
        if end > at + 1 and piece.spaced and not (piece.value[:1] == b"." or pieces[end - 1].value[-1:] == b"."):
            break
        end += 1
    mailbox = b"".join([piece.value for piece in pieces[start:at]])
    host = b"".join([piece.value for piece in pieces[at + 1 : end]])
    words = pieces[:start] + pieces[end:]
    return Address(_phrase(words) if words else comment, None, mailbox, host)


def _angle(lexer: _Lexer) -> tuple[bytes | None, bytes, bytes, bytes]:
    """What stands after `<`: route, mailbox, host and the special that ended it early (or nothing)."""
    pieces: list[_Piece] = []
    route: bytes | None = None
    ended = b""
    while (piece := lexer.next()) is not None:
        if piece.kind == _AT and piece.value != b"@":
            if piece.value == b">":
                break
            if piece.value == b":" and pieces and pieces[0].kind == _AT and route is None:
                route = b"".join([piece.value for piece in pieces])
                pieces = []
                continue
            if piece.value == b"," and pieces and pieces[0].kind == _AT and route is None:
                pieces.append(piece)
                continue
            if piece.value in {b",", b";"}:
                ended = piece.value
                break
            if piece.value == b"<":
                continue
        pieces.append(piece)
    at = _split_at(pieces)
    if at < 0:
        return route, _phrase(pieces) or b"", b"", ended
    mailbox = b"".join([piece.value for piece in pieces[:at]])
    return route, mailbox, b"".join([piece.value for piece in pieces[at + 1 :]]), ended


def parse_addresses(value: bytes, addresses_max: int = 50_000) -> list[Address]:
    """Mailboxes and groups of an unfolded field body. Never raises; linear; stops after `addresses_max`."""
    found: list[Address] = []
    lexer = _Lexer(value)
    pieces: list[_Piece] = []
    pending: Address | None = None
    in_group = False
    while len(found) < addresses_max:
        piece = lexer.next()
        special = b"" if piece is None or piece.kind != _AT else piece.value
        if piece is None or special in {b",", b";"}:
            address = pending or _bare(pieces, lexer.comment)
            if pending is not None and pending.name is None and lexer.comment:
                address = pending._replace(name=lexer.comment)
            if address is not None:
                found.append(address)
            pieces, pending, lexer.comment = [], None, None
            if in_group and (piece is None or special == b";"):
                found.append(Address(None, None, None, None))
                in_group = False
            if piece is None:
                break
        elif special == b"<" and pending is None:
            name = _phrase(pieces)
            route, mailbox, host, ended = _angle(lexer)
            pending = Address(name, route, mailbox, host)
            if ended:
                found.append(pending)
                pieces, pending, lexer.comment = [], None, None
                if ended == b";" and in_group:
                    found.append(Address(None, None, None, None))
                    in_group = False
        elif special == b":" and pending is None and not in_group and _split_at(pieces) < 0:
            found.append(Address(None, None, _phrase(pieces) or b"", None))
            pieces, lexer.comment = [], None
            in_group = True
        elif special in {b"<", b">"} or pending is not None:
            continue
        elif special == b":":
            pieces.append(_Piece(_ATOM, special, piece.spaced))
        else:
            pieces.append(piece)
    return found


_DOT_ATOM = re.compile(rb"[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~\x80-\xff]+(?:\.[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~\x80-\xff]+)*\Z")


def format_mailbox(email: bytes) -> bytes:
    """An addr-spec fit for a header: the local part is quoted where RFC 5322 section 3.4.1 asks for it."""
    mailbox, at, host = email.rpartition(b"@")
    if not at:
        mailbox, host = host, b""
    mailbox = mailbox.translate(None, b"\r\n\0")
    host = host.translate(None, b'\r\n\0 <>,;:"()')
    if mailbox and not _DOT_ATOM.match(mailbox):
        mailbox = b'"' + mailbox.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return mailbox + at + host
