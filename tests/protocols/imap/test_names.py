"""Mailbox names: modified UTF-7, INBOX, what may be made, LIST patterns."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.imap.errors import No
from protocols.imap.names import check_new, compile_pattern, decode_name, decode_utf7, encode_name, encode_utf7

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize(
    ("name", "octets"),
    [("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"), ("a&b", b"a&-b"), ("Entwürfe", b"Entw&APw-rfe")],
)
def test_modified_utf7(name: str, octets: bytes) -> None:
    assert encode_utf7(name) == octets
    assert decode_utf7(octets) == name


@settings(max_examples=200)
@given(TEXT)
def test_encoding_and_decoding_give_the_same(name: str) -> None:
    octets = encode_utf7(name)
    assert octets.isascii()
    assert decode_utf7(octets) == name


@pytest.mark.parametrize("octets", [b"&", b"a&b", b"&Jjo!", b"&U,BTFw-&ZeVnLIqe-", b"&AGE-", b"&A-", b"\xff"])
def test_what_is_no_modified_utf7(octets: bytes) -> None:
    with pytest.raises(No) as refusal:
        decode_name(octets, utf8=False)
    assert refusal.value.code == b"CANNOT"


def test_inbox_is_case_insensitive_and_utf8_is_understood() -> None:
    assert decode_name(b"iNbOx/sub", utf8=False) == "INBOX/sub"
    assert decode_name(b"inboxes", utf8=False) == "inboxes"
    assert decode_name("Entwürfe".encode(), utf8=False) == "Entwürfe"
    assert decode_name(b"a&b", utf8=True) == "a&b"


@pytest.mark.parametrize("name", ["", "/", "a//b", "/a", "a\x00", "a\nb", "a*", "a%", "x" * 256, "a/../b", "a/" * 600])
def test_what_cannot_be_made(name: str) -> None:
    with pytest.raises(No):
        check_new(name)


def test_quoting_where_it_is_needed() -> None:
    assert encode_name("INBOX", False) == b"INBOX"
    assert encode_name('a "b"\\', False) == b'"a \\"b\\"\\\\"'
    assert encode_name("ü", True) == '"ü"'.encode()
    assert encode_name("NIL", False) == b'"NIL"'


@settings(max_examples=300)
@given(st.text("ab/*%", max_size=8), st.text("ab/", max_size=8))
def test_patterns_match_as_the_definition_says(pattern: str, name: str) -> None:
    expression = "".join(".*" if c == "*" else "[^/]*" if c == "%" else re.escape(c) for c in pattern)
    assert compile_pattern(pattern).matches(name) == (re.fullmatch(expression, name) is not None)


def test_inbox_matches_in_any_case() -> None:
    assert compile_pattern("inb*").matches("INBOX")
    assert compile_pattern("inbox").matches("INBOX")
    assert compile_pattern("inbox*").matches("INBOX/sub")
    assert compile_pattern("i%/s*").matches("INBOX/sub")
    assert not compile_pattern("inbox*").matches("INBOXES")
    assert not compile_pattern("inbox/SUB").matches("INBOX/sub")
    assert not compile_pattern("inb*").matches("INBOARD")


def test_no_pattern_is_slow() -> None:
    """Backtracking would take longer than a test may."""
    assert not compile_pattern("%a*" * 300 + "b").matches("a" * 1000)
