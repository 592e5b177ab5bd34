"""ENVELOPE and BODYSTRUCTURE (RFC 3501 section 7.4.2). tests/interop/test_imap_dovecot.py compares the corpus."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.imap.envelope import body, bodystructure, envelope, string
from protocols.mime.structure import parse


def test_sender_and_reply_to_default_to_from() -> None:
    found = envelope(parse(b"From: A <a@b.c>\r\nSender:\r\n\r\n"))
    assert found == b'(NIL NIL (("A" NIL "a" "b.c")) (("A" NIL "a" "b.c")) (("A" NIL "a" "b.c")) NIL NIL NIL NIL NIL)'


def test_groups_and_encoded_words_stay_raw() -> None:
    found = envelope(parse(b"To: friends: =?utf-8?q?J=C3=B6rg?= <j@x.y>, k@x.y;\r\n\r\n"))
    assert (
        b'((NIL NIL "friends" NIL)("=?utf-8?q?J=C3=B6rg?=" NIL "j" "x.y")(NIL NIL "k" "x.y")(NIL NIL NIL NIL))' in found
    )


def test_a_folded_subject_is_unfolded_and_quotes_are_escaped() -> None:
    assert b'"a \\"b\\" c"' in envelope(parse(b'Subject: a\r\n "b" c\r\n\r\n'))


def test_eight_bit_goes_into_a_literal() -> None:
    assert string("ü".encode()) == b"{2}\r\n" + "ü".encode()


def test_structure_of_a_message_in_a_message() -> None:
    octets = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nline\r\n"
    assert body(parse(octets)) == (
        b'("message" "rfc822" NIL NIL NIL "7bit" 21 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) '
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 1) 3)'
    )


def test_extension_data() -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nContent-Disposition: attachment; filename=a.txt\r\n"
        b"Content-Language: en, de\r\nContent-MD5: abc\r\nContent-Location: x\r\n\r\n--q--\r\n"
    )
    assert bodystructure(parse(octets)) == (
        b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 "abc" ("attachment" ("filename" "a.txt"))'
        b' ("en" "de") "x")'
        b' "mixed" ("boundary" "q") NIL NIL NIL)'
    )


@pytest.mark.parametrize(
    "octets", [b"", b"\r\n", b"Content-Type: multipart/mixed\r\n\r\n", b"Content-Type: message/rfc822\r\n\r\n"]
)
def test_empty_things_have_a_structure(octets: bytes) -> None:
    for make in (body, bodystructure, envelope):
        assert make(parse(octets)).startswith(b"(")


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [b"From: ", b"<a@b>", b",", b'"', b"(", b"\\", b"\r\n", b" ", b"Subject: ", b"\xff", b"\0", b"{3}", b"x;"]
        )
    ).map(b"".join)
)
def test_parentheses_and_quotes_always_balance(octets: bytes) -> None:
    found = envelope(parse(octets + b"\r\n\r\n"))
    while (match := re.search(rb"\{(\d+)\}\r\n", found)) is not None:
        found = found[: match.start()] + b'""' + found[match.end() + int(match[1]) :]
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", found)
    assert b'"' not in bare
    assert bare.count(b"(") == bare.count(b")")
    assert set(bare) <= set(b"()NIL ")
