"""Flags and keywords (RFC 3501 section 2.3.2)."""

from __future__ import annotations

import pytest

from protocols.imap.errors import Bad
from protocols.imap.flags import format_flags, match_keyword, parse_flag


def test_spelling() -> None:
    assert parse_flag("\\SEEN") == "\\Seen"
    assert parse_flag("$forwarded") == "$Forwarded"
    assert parse_flag("MyLabel") == "MyLabel"
    assert match_keyword("mylabel", frozenset({"MyLabel"})) == "MyLabel"


@pytest.mark.parametrize("flag", ["\\Recent", "\\*", "\\Bogus", "", "a b", "a(", "é", "x" * 256, "a%"])
def test_what_cannot_be_set(flag: str) -> None:
    with pytest.raises(Bad):
        parse_flag(flag)


def test_writing() -> None:
    assert format_flags(frozenset()) == b"()"
    assert format_flags(frozenset({"b", "a", "\\Seen", "\\Answered"}), True) == b"(\\Answered \\Seen a b \\Recent)"
