"""protocols/mime/words.py"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mime.headers import unfold
from protocols.mime.words import decode_words, encode_chunks, encode_phrase, encode_words, fold


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", "plain"),
        ("é".encode(), "é"),
        (b"\xe9", "é"),
        (b"=?iso-8859-1?q?this=20is=20some=20text?=", "this is some text"),
        (b"=?ISO-8859-1?Q?a?=", "a"),
        (b"=?ISO-8859-1?Q?a?= b", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a?= =?UTF-8?b?w6k=?=", "aé"),
        (b"=?ISO-8859-1?Q?a_b?=", "a b"),
        (b"=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
        (b"=?utf-8?b?w6?= =?utf-8?b?k=?=", "\ufffd"),
        (b"=?utf-8?q?What??=", "What?"),
        (b"=?utf-8?q?with blanks?=", "with blanks"),
        (b"=?x-nonsense?q?=E9?=", "é"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?utf-8?q?never closed", "=?utf-8?q?never closed"),
        (b"a=?utf-8?q?b?=c", "abc"),
        (b"=?utf-8?b?!!!?=", ""),
    ],
)
def test_decode(value: bytes, expected: str) -> None:
    decoded = decode_words(value)
    if expected == "\ufffd":
        assert "\ufffd" in decoded or decoded == "é"
    else:
        assert decoded == expected


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@settings(max_examples=300)
@given(TEXT.map(str.strip), st.integers(0, 60))
def test_encode_then_decode(text: str, used: int) -> None:
    encoded = encode_words(text, used)
    assert encoded.isascii()
    assert decode_words(unfold(encoded)) == text
    for line in encoded.split(b"\r\n"):
        assert len(line) <= 998
        assert b"\n" not in line
        assert line.strip() or not text


@settings(max_examples=200)
@given(st.text(alphabet='ab  =?_é"\\(', max_size=120).map(str.strip))
def test_phrases(text: str) -> None:
    assert decode_words(encode_phrase(text).strip(b'"').replace(b'\\"', b'"').replace(b"\\\\", b"\\")) == text or (
        '"' in text or "\\" in text
    )


def test_chunks_are_short_and_cut_no_character() -> None:
    for chunk in encode_chunks("é汉😀a" * 60):
        assert len(chunk) <= 75
        assert "\ufffd" not in decode_words(chunk)


def test_fold() -> None:
    line = b" ".join([b"word"] * 60)
    folded = fold(line, 9)
    assert all(len(part) <= 78 for part in folded.split(b"\r\n"))
    assert unfold(folded) == line


@pytest.mark.parametrize("unit", [b"=?", b"=?a?q?", b"=?a?q?b", b"=?a?q?b??c", b"=?a?b?" + b"x" * 50])
def test_hostile_values_take_linear_time(unit: bytes, linear: Callable[[Callable[[int], object], int], None]) -> None:
    linear(lambda octets: decode_words(unit * (octets // len(unit))), 50_000)


@settings(max_examples=200)
@given(st.text(alphabet="=?bq utf-8*_aé", max_size=80).map(str.encode))
def test_never_raises(value: bytes) -> None:
    decode_words(value)
