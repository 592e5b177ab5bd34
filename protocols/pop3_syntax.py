"""Arguments of POP3 commands (RFC 1939 section 9, RFC 2449 section 4); the part of a message that TOP shows."""

from __future__ import annotations

import re

from .registry import SyntaxProblem

NUMBER_DIGITS_MAX = 10
"""No maildrop has a message number with more digits."""

_MECHANISM = re.compile(rb"[A-Za-z0-9_-]{1,20}")
_LANGUAGE = re.compile(rb"\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")


def _text(octets: bytes) -> str:
    if any(octet < 0x20 or octet == 0x7F for octet in octets):
        raise SyntaxProblem("control characters are not allowed")
    return octets.decode("utf-8", "surrogateescape")


def _number(word: bytes) -> int:
    if not word.isdigit() or len(word) > NUMBER_DIGITS_MAX:
        raise SyntaxProblem("a number is expected")
    return int(word)


def message_number(rest: bytes) -> int:
    """`n`"""
    return _number(rest.strip(b" "))


def optional_message_number(rest: bytes) -> int | None:
    """`[n]`"""
    word = rest.strip(b" ")
    return _number(word) if word else None


def top_arguments(rest: bytes) -> tuple[int, int]:
    """`n lines`"""
    words = rest.split()
    if len(words) != 2:
        raise SyntaxProblem("two numbers are expected")
    if not words[1].isdigit():
        raise SyntaxProblem("two numbers are expected")
    return _number(words[0]), int(words[1])  # of lines there may be any number; the command line is short


def name_argument(rest: bytes) -> str:
    """`name`: RFC 6856 section 2.2 allows UTF-8."""
    name = rest.strip(b" ")
    if not name:
        raise SyntaxProblem("a name is expected")
    return _text(name)


def password_argument(rest: bytes) -> str:
    """`string`: all that is behind the first space, spaces included (RFC 1939 section 7)."""
    if not rest:
        raise SyntaxProblem("a password is expected")
    if b"\0" in rest:
        raise SyntaxProblem("NUL is not allowed")
    return rest.decode("utf-8", "surrogateescape")


def apop_arguments(rest: bytes) -> tuple[str, bytes]:
    """`name digest`: 32 hexadecimal digits, which RFC 1939 wants in lower case."""
    name, space, digest = rest.strip(b" ").rpartition(b" ")
    if not space or not name or not re.fullmatch(rb"[0-9a-fA-F]{32}", digest):
        raise SyntaxProblem("a name and 32 hexadecimal digits are expected")
    return _text(name.strip(b" ")), digest.lower()


def auth_arguments(rest: bytes) -> tuple[str, bytes | None] | None:
    """`mechanism [initial-response]`, or nothing at all."""
    words = rest.split()
    if not words:
        return None
    if len(words) > 2 or not _MECHANISM.fullmatch(words[0]):
        raise SyntaxProblem("a mechanism is expected")
    return words[0].decode().upper(), words[1] if len(words) == 2 else None


def language_argument(rest: bytes) -> str | None:
    """`[language-range]` (RFC 6856 section 3)."""
    tag = rest.strip(b" ")
    if not tag:
        return None
    if not _LANGUAGE.fullmatch(tag):
        raise SyntaxProblem("a language tag is expected")
    return tag.decode()


def top_of(octets: bytes, lines: int) -> bytes:
    """The header, the empty line and the first `lines` lines of the body (RFC 1939 section 7); all of a headless text.

    Takes time in proportion to what it returns, however many lines are asked for.
    """
    if octets.startswith(b"\r\n"):
        position = 2
    else:
        end = octets.find(b"\r\n\r\n")
        if end < 0:
            return octets
        position = end + 4
    for _ in range(lines):
        index = octets.find(b"\r\n", position)
        if index < 0:
            return octets
        position = index + 2
    return octets[:position]
