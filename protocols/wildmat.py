"""Wildmats (RFC 3977 section 4) and the older patterns of XPAT (RFC 2980 section 2.9), matched in linear time.

A pattern is cut at its asterisks into pieces of fixed length, which are looked for from left to right: nothing is tried
twice, so no pattern can make the server work for more than text length times pattern length.
"""

from __future__ import annotations

import re
from functools import lru_cache

PATTERN_CHARACTERS_MAX = 8192


class WildmatError(ValueError):
    """The text is no wildmat."""


class Pattern:
    """One pattern: `*` any characters, `?` one character, `[a-z]` `[^a-z]` one of a set, `\\x` the character x."""

    __slots__ = ("_first", "_last", "_least", "_middle", "_whole")

    def __init__(self, text: str) -> None:
        """Raises WildmatError for an unfinished set or escape, or a pattern over PATTERN_CHARACTERS_MAX."""
        if len(text) > PATTERN_CHARACTERS_MAX:
            raise WildmatError(f"longer than {PATTERN_CHARACTERS_MAX} characters")
        pieces = _pieces(text)
        self._least = sum(length for _, length in pieces)
        compiled = [(re.compile(source, re.DOTALL), length) for source, length in pieces]
        self._whole = len(compiled) == 1
        self._first, self._last = compiled[0], compiled[-1]
        self._middle = [piece for piece, length in compiled[1:-1] if length]

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` matches."""
        first, first_length = self._first
        if len(text) < self._least or first.match(text) is None:
            return False
        if self._whole:
            return len(text) == first_length
        last, last_length = self._last
        end = len(text) - last_length
        if last.match(text, end) is None:
            return False
        position = first_length
        for piece in self._middle:
            found = piece.search(text, position, end)
            if found is None:
                return False
            position = found.end()
        return position <= end


def _pieces(text: str) -> list[tuple[str, int]]:
    """The pieces between asterisks, as (regular expression of fixed length, that length)."""
    pieces: list[tuple[str, int]] = []
    source: list[str] = []
    index = 0
    while index < len(text):
        character = text[index]
        index += 1
        if character == "*":
            pieces.append(("".join(source), len(source)))
            source = []
        elif character == "?":
            source.append(".")
        elif character == "\\":
            if index >= len(text):
                raise WildmatError("a backslash stands at the end")
            source.append(re.escape(text[index]))
            index += 1
        elif character == "[":
            one, index = _set(text, index)
            source.append(one)
        else:
            source.append(re.escape(character))
    pieces.append(("".join(source), len(source)))
    return pieces


def _set(text: str, start: int) -> tuple[str, int]:
    """The set that begins at `start`, behind its bracket: its regular expression and where it ends."""
    index = start
    negated = text.startswith("^", index)
    index += negated
    # a bracket that stands first is a member (RFC 2980 section 3.3)
    end = text.find("]", index + 1)
    if end < 0:
        raise WildmatError("a set is not closed")
    members: list[str] = []
    while index < end:
        low = high = text[index]
        if index + 2 < end and text[index + 1] == "-":
            high = text[index + 2]
            index += 2
        index += 1
        if low <= high:
            members.append(f"{re.escape(low)}-{re.escape(high)}")
    if not members:  # nothing but empty ranges
        return ("." if negated else r"[^\s\S]"), end + 1
    return f"[{'^' if negated else ''}{''.join(members)}]", end + 1


class Wildmat:
    """Patterns between commas, `!` in front of those that exclude: the last one that matches decides."""

    __slots__ = ("_patterns", "everything")

    def __init__(self, text: str) -> None:
        """Raises WildmatError."""
        self._patterns: list[tuple[bool, Pattern]] = []
        self.everything = text == "*"
        for part in text.split(","):
            wanted = not part.startswith("!")
            pattern = part if wanted else part[1:]
            if not pattern:
                raise WildmatError("a pattern is empty")
            self._patterns.append((wanted, Pattern(pattern)))
        self._patterns.reverse()

    def matches(self, text: str) -> bool:
        """Whether the last pattern that matches `text` is one without `!`."""
        if self.everything:
            return True
        for wanted, pattern in self._patterns:
            if pattern.matches(text):
                return wanted
        return False


@lru_cache(maxsize=256)
def wildmat(text: str) -> Wildmat:
    """The wildmat written as `text`, kept for the next time. Raises WildmatError."""
    return Wildmat(text)


@lru_cache(maxsize=256)
def pattern(text: str) -> Pattern:
    """The single pattern written as `text`: a comma and `!` have no meaning in it. Raises WildmatError."""
    return Pattern(text)
