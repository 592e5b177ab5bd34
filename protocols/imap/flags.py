"""Flags and keywords (RFC 9051 section 2.3.2): which are valid, how they are spelled, and their octets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .errors import Bad

SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = "\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"
RECENT = "\\Recent"

SYSTEM = (ANSWERED, FLAGGED, DELETED, SEEN, DRAFT)
_SYSTEM_BY_LOWER = {name.lower(): name for name in SYSTEM}

KEYWORD_OCTETS_MAX = 255
KEYWORDS_MAX = 100
"""Keywords in one command."""

_KEYWORD = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|~}]+")

WELL_KNOWN = {
    name.lower(): name
    for name in (
        "$Forwarded",
        "$MDNSent",
        "$Junk",
        "$NotJunk",
        "$Phishing",
        "$Important",
        "$SubmitPending",
        "$Submitted",
        "Junk",
        "NonJunk",
    )
}
"""Registered keywords in their registered spelling (keywords compare without case, RFC 9051 section 2.3.2)."""


@lru_cache(maxsize=4096)
def parse_flag(text: str) -> str:
    """A flag as the store keeps it. Raises Bad for one that cannot be set."""
    if text.startswith("\\"):
        known = _SYSTEM_BY_LOWER.get(text.lower())
        if known is None:
            raise Bad("that is no flag which can be set")
        return known
    if len(text) > KEYWORD_OCTETS_MAX or _KEYWORD.fullmatch(text) is None:
        raise Bad("that is no valid keyword")
    return WELL_KNOWN.get(text.lower(), text)


def parse_flags(texts: Iterable[str]) -> tuple[str, ...]:
    """Flags as the store keeps them, each once in whatever spelling came first. Raises Bad."""
    return tuple({text.lower(): parse_flag(text) for text in reversed(list(texts))}.values())[::-1]


def spellings(keyword: str, known: Iterable[str]) -> frozenset[str]:
    """All spellings of a keyword that a mailbox has: they name one keyword (RFC 9051 section 2.3.2)."""
    lower = keyword.lower()
    return frozenset([keyword, *(other for other in known if other.lower() == lower)])


def match_keyword(keyword: str, known: frozenset[str]) -> str:
    """The spelling under which the folder has the keyword already, or the one given."""
    if keyword in known:
        return keyword
    lower = keyword.lower()
    return next((other for other in known if other.lower() == lower), keyword)


def _order(flag: str) -> tuple[int, str]:
    return (SYSTEM.index(flag), "") if flag in _SYSTEM_BY_LOWER.values() else (len(SYSTEM), flag)


@lru_cache(maxsize=16384)
def format_flags(flags: frozenset[str], recent: bool = False) -> bytes:
    """`(\\Seen $Junk)`: system flags first, keywords by name."""
    names = sorted(flags, key=_order)
    if recent:
        names.append(RECENT)
    return f"({' '.join(names)})".encode("ascii", "replace")
