"""Parameters of Content-Type and Content-Disposition: RFC 2045 section 5.1, RFC 2231, and what is found in their place.

Lenient where senders are known to err: unquoted values with spaces, missing semicolons, a quote that is never closed,
comments. The first of two parameters with one name counts.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from .charsets import decode_text

_PARAMETER = re.compile(
    rb"([^\x00-\x20=;\"()]++)[ \t\r\n]*+(?:=[ \t\r\n]*+(\"[^\"\\]*+(?:\\(?s:.)[^\"\\]*+)*+\"?"
    # an unquoted value may have blanks in it; behind them `name=` is the next parameter, its semicolon forgotten
    rb"|[^ \t\r\n;]*+(?:[ \t\r\n]++(?![A-Za-z0-9*-]{1,40}=)[^ \t\r\n;]*+)*+))?"
)
_SIMPLE = re.compile(
    rb"[ \t]*+;[ \t]*+([A-Za-z0-9\-]++)=(?:\"([^\"\\]*+)\"|([^\x00-\x20;\"()\\\x7f]++))(?=[ \t]*+(?:;|\Z))"
)
"""A parameter as nearly all are."""
_SEPARATORS = re.compile(rb"[ \t\r\n;]*+")
_SKIP = re.compile(rb"[^;]*+")
_TRAILING_COMMENT = re.compile(rb"[ \t]\([^()]*\)$")
_SECTION = re.compile(rb"([^*]+)(?:\*([0-9]{1,4}))?(\*)?$")
_TOKEN = re.compile(rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+$")
_EXTENDED_OCTETS = [
    bytes((octet,)) if _TOKEN.match(bytes((octet,))) and octet not in b"*'%" else b"%%%02X" % octet
    for octet in range(256)
]
"""Each octet as RFC 2231 section 7 writes it in an extended value."""


def strip_comments(value: bytes) -> bytes:
    """The value without its RFC 5322 comments (nested ones too); quoted strings are left alone. Linear."""
    if b"(" not in value:
        return value
    kept = bytearray()
    depth = 0
    quoted = False
    position = 0
    for match in re.finditer(rb"[()\"\\]", value):
        at = match.start()
        if at < position:
            continue
        octet = value[at]
        if depth == 0:
            kept += value[position:at]
        position = at + 1
        if octet == 0x5C:
            position = at + 2
            if depth == 0:
                kept += value[at:position]
        elif octet == 0x22:
            if depth == 0:
                quoted = not quoted
                kept.append(octet)
        elif quoted:
            kept.append(octet)
        elif octet == 0x28:
            depth += 1
        elif depth:
            depth -= 1
        else:
            kept.append(octet)
    if depth == 0:
        kept += value[position:]
    return bytes(kept)


def split_parameters(value: bytes, start: int = 0, parameters_max: int = 200) -> list[tuple[bytes, bytes]]:
    """(lower-case name, value without quotes) of `value[start:]` as written: RFC 2231 sections are not joined."""
    found: list[tuple[bytes, bytes]] = []
    position = start
    length = len(value)
    while len(found) < parameters_max and (match := _SIMPLE.match(value, position)) is not None:
        name, quoted, token = match.groups()
        found.append((name.lower(), token if quoted is None else quoted))
        position = match.end()
    for _ in range(parameters_max * 10):  # words that are no parameters count too
        if position >= length or len(found) >= parameters_max:
            break
        position = _end(_SEPARATORS, value, position)
        match = _PARAMETER.match(value, position)
        if match is None:
            position = _end(_SKIP, value, position)
            continue
        position = match.end()
        name, text = match.groups()
        if text is None:
            continue
        if text[:1] == b'"':
            text = text[1:-1] if len(text) > 1 and text[-1:] == b'"' else text[1:]
            if b"\\" in text:
                text = b"\\".join([piece.replace(b'\\"', b'"') for piece in text.split(b"\\\\")])
        else:
            text = text.strip(b" \t\r\n")
            if text[-1:] == b")":
                text = _TRAILING_COMMENT.sub(b"", text).rstrip(b" \t")
        found.append((name.lower(), text))
    return found


def _end(pattern: re.Pattern[bytes], value: bytes, position: int) -> int:
    match = pattern.match(value, position)
    return position if match is None else match.end()


def join_sections(parameters: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """RFC 2231 section 3 continuations joined; a value with a character set stays encoded under the name `name*`.

    This is the form IMAP shows in BODYSTRUCTURE, where the client decodes.
    """
    if not any(b"*" in name for name, _ in parameters):
        return list(dict(reversed(parameters)).items())[::-1] if len(parameters) > 1 else parameters
    joined: dict[bytes, bytes] = {}
    sections: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in parameters:
        match = _SECTION.match(name)
        if match is None or match[2] is None:
            joined.setdefault(name, value)
        else:
            joined.setdefault(match[1] + b"*\0", b"")  # holds the place
            sections.setdefault(match[1], {}).setdefault(int(match[2]), (value, match[3] is not None))
    for name, numbered in sections.items():
        encoded = any(flag for _, flag in numbered.values())
        parts = []
        for number in range(len(numbered)):
            if number not in numbered:
                break
            value, flag = numbered[number]
            parts.append(_percent(value) if encoded and not flag else value)
        joined[name + b"*\0"] = (b"*" if encoded else b" ") + b"".join(parts)
    result: dict[bytes, bytes] = {}
    for name, value in joined.items():
        if name.endswith(b"*\0"):
            result.setdefault(name[:-2] + (b"*" if value[:1] == b"*" else b""), value[1:])
        else:
            result.setdefault(name, value)
    return list(result.items())


def _percent(value: bytes) -> bytes:
    """A plain section that stands among encoded ones, in the characters that RFC 2231 section 7 allows there."""
    return b"".join([_EXTENDED_OCTETS[octet] for octet in value])


def decode_extended(value: bytes) -> tuple[str, str]:
    """RFC 2231 section 4 `charset'language'octets` → (text, language)."""
    charset, quote, rest = value.partition(b"'")
    language, quote2, text = rest.partition(b"'")
    if not quote or not quote2:
        return decode_text(unquote_to_bytes(value)), ""
    return (
        decode_text(unquote_to_bytes(text), charset.decode("ascii", "replace") or "us-ascii"),
        language.decode("ascii", "replace"),
    )


def decode_parameters(joined: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Text of joined parameters by lower-case name, in order; `name*` wins over `name` (RFC 2231 section 4)."""
    decoded: dict[str, str] = {}
    for name, value in joined:
        key = name.decode("ascii", "replace")
        if key[-1:] == "*" and len(key) > 1:
            decoded[key[:-1]] = decode_extended(value)[0]
        elif key not in decoded:
            decoded[key] = decode_text(value)
    return decoded


def encode_parameter(name: str, value: str, line_octets_max: int = 76) -> list[bytes]:
    """`name=value` in as many pieces as fit on lines of `line_octets_max` octets, each without its semicolon.

    Token or quoted string where ASCII allows, RFC 2231 (UTF-8) otherwise, continued where it is long.
    """
    key = name.encode("ascii", "replace")
    room = max(line_octets_max - len(key) - 8, 16)
    if value.isascii() and value.isprintable():
        plain = value.encode("ascii")
        if len(plain) <= room + 4:
            return [key + b"=" + (plain if _TOKEN.match(plain) else _quote(plain))]
    encoded = b"".join([_EXTENDED_OCTETS[octet] for octet in value.encode("utf-8", "replace")])
    if len(encoded) + 7 <= room:
        return [key + b"*=utf-8''" + encoded]
    pieces: list[bytes] = []
    position = 0
    while position < len(encoded):
        head = b"utf-8''" if position == 0 else b""
        cut = position + room - len(head)
        if cut < len(encoded):
            # a percent triple is not cut
            for back in (1, 2):
                if encoded[cut - back : cut - back + 1] == b"%":
                    cut -= back
                    break
        pieces.append(b"%s*%d*=%s%s" % (key, len(pieces), head, encoded[position:cut]))
        position = cut
    return pieces


def _quote(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
