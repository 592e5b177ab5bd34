"""Sequence sets: reading, resolving and writing (RFC 9051 section 9)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.imap import sequence
from protocols.imap.sequence import STAR, beyond, contains, format_ordered, format_set, list_numbers, parse_set, resolve
from protocols.registry import SyntaxProblem


def test_ranges_are_sorted_and_merged() -> None:
    assert parse_set(b"4:2,3,9,10:12") == ((2, 4), (9, 12))
    assert parse_set(b"*:4,7") == ((4, STAR),)
    assert parse_set(b"1,*") == ((1, 1), (STAR, STAR))


@pytest.mark.parametrize("text", [b"", b"0", b"1:", b":1", b"a", b"1,,2", b"01", b"4294967296", b"1 ", b"-1"])
def test_what_is_no_set(text: bytes) -> None:
    with pytest.raises(SyntaxProblem):
        parse_set(text)


def test_star_is_the_largest_number() -> None:
    assert resolve(parse_set(b"5:*"), 3) == ((3, 3),)
    assert resolve(parse_set(b"2:*"), 3) == ((2, 3),)
    assert resolve(parse_set(b"*"), 0) == ()
    assert resolve(parse_set(b"1,*"), 2) == ((1, 2),)


def test_what_lies_beyond_the_mailbox() -> None:
    assert beyond(parse_set(b"4"), 3)
    assert beyond(parse_set(b"1:*"), 0)
    assert not beyond(parse_set(b"1:*"), 1)
    assert beyond(parse_set(b"1,9:*"), 3)
    assert not beyond(parse_set(b"3"), 3)


@settings(max_examples=150)
@given(st.sets(st.integers(1, 300), min_size=1))
def test_writing_and_reading_give_the_same(numbers: set[int]) -> None:
    ascending = sorted(numbers)
    ranges = resolve(parse_set(format_set(ascending)), 300)
    assert [n for low, high in ranges for n in range(low, high + 1)] == ascending
    assert all(contains(ranges, n) == (n in numbers) for n in range(1, 301))
    assert sequence.count(ranges) == len(numbers)


@settings(max_examples=60)
@given(st.integers(1, 5000), st.integers(1, 3000), st.sets(st.integers(0, 2999), max_size=40))
def test_long_runs_are_written_as_short_ones_are(first: int, count: int, missing: set[int]) -> None:
    numbers = [first + offset for offset in range(count) if offset not in missing]
    ranges = sequence.spans(numbers)
    assert [n for low, high in ranges for n in range(low, high + 1)] == numbers
    assert all(above > high + 1 for (_, high), (above, _) in pairwise(ranges))
    assert list_numbers(numbers) == " ".join(map(str, numbers)).encode()


def test_order_is_kept_where_it_matters() -> None:
    assert format_ordered([4, 5, 1, 2, 9]) == b"4:5,1:2,9"


@settings(max_examples=200)
@given(st.text(alphabet="0123456789:,* $", max_size=30))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        ranges = parse_set(text.encode())
    except SyntaxProblem:
        return
    for largest in (0, 1, 50):
        assert all(1 <= low <= high <= largest for low, high in resolve(ranges, largest))
