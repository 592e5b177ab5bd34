"""Arguments of NNTP commands."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.nntp.syntax import (
    ARTICLE_NUMBER_MAX,
    Range,
    article,
    header_name,
    is_message_id,
    message_id,
    number_range,
    pattern_argument,
    range_or_message_id,
    since,
    text,
    wildmat_argument,
    words,
)
from protocols.registry import SyntaxProblem

NOW = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
PARSERS = [article, message_id, number_range, range_or_message_id, wildmat_argument, pattern_argument, header_name]


@pytest.mark.parametrize("parser", PARSERS)
@given(st.binary(max_size=40) | st.from_regex(rb"[<>0-9a-z@.*?!,\[\]-]{0,30}", fullmatch=True))
def test_nothing_but_syntax_problems_is_raised(parser, word: bytes) -> None:  # type: ignore[no-untyped-def]
    try:
        parser(word)
    except SyntaxProblem:
        pass


@pytest.mark.parametrize("word", [b"<a@b>", b"<0>", b"<" + b"x" * 248 + b">"])
def test_message_ids(word: bytes) -> None:
    assert is_message_id(word)
    assert article(word) == word
    assert range_or_message_id(word) == word


@pytest.mark.parametrize("word", [b"<>", b"<a", b"a>", b"<a b>", b"<a>b>", b"<\xe9>", b"<" + b"x" * 249 + b">", b""])
def test_what_is_no_message_id(word: bytes) -> None:
    assert not is_message_id(word)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [(b"5", Range(5, 5)), (b"5-", Range(5, ARTICLE_NUMBER_MAX)), (b"5-7", Range(5, 7)), (b"007-1", Range(7, 1))],
)
def test_ranges(word: bytes, wanted: Range) -> None:
    assert number_range(word) == wanted


@given(st.integers(0, ARTICLE_NUMBER_MAX), st.integers(0, ARTICLE_NUMBER_MAX))
def test_ranges_read_as_they_are_written(low: int, high: int) -> None:
    assert number_range(b"%d-%d" % (low, high)) == Range(low, high)


@pytest.mark.parametrize("word", [b"", b"-", b"-5", b"1-2-3", b"x", b"1" * 17])
def test_what_is_no_range(word: bytes) -> None:
    with pytest.raises(SyntaxProblem):
        number_range(word)


@pytest.mark.parametrize(
    ("arguments", "moment"),
    [
        (b"20240229 235959", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        (b"20240229 235959 GMT", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        (b"260101 000000", datetime(2026, 1, 1, tzinfo=UTC)),
        (b"270101 000000", datetime(1927, 1, 1, tzinfo=UTC)),  # RFC 3977 section 7.3.2: not in the future
        (b"991231 000000 gmt", datetime(1999, 12, 31, tzinfo=UTC)),
        (b"20161231 235960", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_since(arguments: bytes, moment: datetime) -> None:
    assert since(arguments.split(), NOW) == moment.timestamp()


@given(st.lists(st.from_regex(rb"[0-9a-zA-Z]{1,10}", fullmatch=True), min_size=2, max_size=3))
def test_since_raises_nothing_else(arguments: list[bytes]) -> None:
    try:
        since(arguments, NOW)
    except SyntaxProblem:
        pass


def test_words() -> None:
    split = words(1, 2)
    assert split(b" a \t b ") == [b"a", b"b"]
    for rest in (b"", b"a b c"):
        with pytest.raises(SyntaxProblem):
            split(rest)


def test_names_and_text() -> None:
    assert header_name(b"Message-ID") == b"message-id"
    assert header_name(b":Bytes") == b":bytes"
    assert text("å".encode()) == "å"
    assert text(b"\xff") == "\udcff"
