"""The arguments of NNTP's commands (RFC 3977 section 9) as values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from protocols.registry import SyntaxProblem
from protocols.wildmat import Pattern, Wildmat, WildmatError, pattern, wildmat

ARTICLE_NUMBER_MAX = 2_147_483_647
"""RFC 3977 section 6."""
MESSAGE_ID_OCTETS_MAX = 250
"""RFC 3977 section 3.6."""

_MESSAGE_ID = re.compile(rb"<[\x21-\x3d\x3f-\x7e]{1,248}>")
_NUMBER = re.compile(rb"[0-9]{1,16}")
_RANGE = re.compile(rb"([0-9]{1,16})(-([0-9]{1,16})?)?")
_HEADER_NAME = re.compile(rb":?[\x21-\x39\x3b-\x7e]+")
_DATE = re.compile(rb"(?:([0-9]{4})|([0-9]{2}))([0-9]{2})([0-9]{2})")
_TIME = re.compile(rb"([0-9]{2})([0-9]{2})([0-9]{2})")


@dataclass(frozen=True, slots=True)
class Range:
    """Article numbers `low` to `high`, both included."""

    low: int
    high: int


def words(least: int, most: int) -> Callable[[bytes], list[bytes]]:
    """The syntax of a command with so many arguments between white space."""

    def split(rest: bytes) -> list[bytes]:
        found = rest.split()
        if not least <= len(found) <= most:
            raise SyntaxProblem("arguments are missing" if len(found) < least else "too many arguments")
        return found

    return split


def is_message_id(word: bytes) -> bool:
    """RFC 3977 section 3.6: 3 to 250 octets, printable, in angle brackets."""
    return _MESSAGE_ID.fullmatch(word) is not None


def message_id(word: bytes) -> bytes:
    """A Message-ID. Raises SyntaxProblem."""
    if not is_message_id(word):
        raise SyntaxProblem("a message-id is expected")
    return word


def article(rest: bytes) -> bytes | int | None:
    """`[message-id|number]`: octets for a Message-ID, a number, or None."""
    word = rest.strip(b" \t")
    if not word:
        return None
    if _NUMBER.fullmatch(word):
        return int(word)
    return message_id(word)


def number_range(word: bytes) -> Range:
    """`n`, `n-` or `n-m` (RFC 3977 section 9.8). Raises SyntaxProblem."""
    found = _RANGE.fullmatch(word)
    if found is None:
        raise SyntaxProblem("a range of article numbers is expected")
    low = int(found[1])
    if found[2] is None:
        return Range(low, low)
    return Range(low, int(found[3]) if found[3] is not None else ARTICLE_NUMBER_MAX)


def range_or_message_id(word: bytes) -> bytes | Range:
    """Octets for a Message-ID, or a range. Raises SyntaxProblem."""
    return message_id(word) if word.startswith(b"<") else number_range(word)


def text(word: bytes) -> str:
    """UTF-8; octets that are none are kept as surrogates, so that they match nothing by accident."""
    return word.decode("utf-8", "surrogateescape")


def wildmat_argument(word: bytes) -> Wildmat:
    """Raises SyntaxProblem."""
    try:
        return wildmat(text(word))
    except WildmatError as error:
        raise SyntaxProblem(f"a wildmat is expected: {error}") from None


def pattern_argument(word: bytes) -> Pattern:
    """One pattern of XPAT. Raises SyntaxProblem."""
    try:
        return pattern(text(word))
    except WildmatError as error:
        raise SyntaxProblem(f"a pattern is expected: {error}") from None


def header_name(word: bytes) -> bytes:
    """The name of a header field, or of metadata behind a colon; lower case. Raises SyntaxProblem."""
    if not _HEADER_NAME.fullmatch(word):
        raise SyntaxProblem("the name of a header field is expected")
    return word.lower()


def since(arguments: list[bytes], now: float) -> float:
    """`date time [GMT]` as seconds since the epoch (RFC 3977 section 7.3.2); the server's own zone is UTC.

    A two-digit year belongs to the current century unless that would be in the future.
    """
    if len(arguments) == 3 and arguments[2].upper() not in (b"GMT", b"UTC"):
        raise SyntaxProblem("only GMT may follow the time")
    day, clock = _DATE.fullmatch(arguments[0]), _TIME.fullmatch(arguments[1])
    if day is None or clock is None:
        raise SyntaxProblem("yyyymmdd hhmmss is expected")
    if day[1] is not None:
        year = int(day[1])
    else:
        this_year = datetime.fromtimestamp(now, UTC).year
        year = this_year - this_year % 100 + int(day[2])
        if year > this_year:
            year -= 100
    hour, minute, second = (int(part) for part in clock.groups())
    try:
        # a leap second counts as the one before it
        moment = datetime(year, int(day[3]), int(day[4]), hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        raise SyntaxProblem("there is no such date or time") from None
    if second > 60:
        raise SyntaxProblem("there is no such date or time")
    return moment.timestamp()
