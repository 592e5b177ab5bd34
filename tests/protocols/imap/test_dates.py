"""Dates of IMAP (RFC 3501 section 9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.imap.dates import day_number, format_date_time, local_day, parse_date, parse_date_time
from protocols.imap.errors import Bad


def test_reading() -> None:
    assert parse_date(b"1-Jan-1970") == 0
    assert parse_date(b"07-feb-1994") == day_number(1994, 2, 7)
    assert parse_date_time(b"17-Jul-1996 02:44:25 -0700") == (837596665.0, -420)
    assert parse_date_time(b" 1-Jan-1970 00:00:00 +0000") == (0.0, 0)


@pytest.mark.parametrize(
    "text", [b"", b"1-Foo-1970", b"31-Feb-2000", b"1-1-1970", b"1-Jan-70", b"0-Jan-1970", b"1-Jan-0000"]
)
def test_what_is_no_date(text: bytes) -> None:
    with pytest.raises(Bad):
        parse_date(text)


@pytest.mark.parametrize(
    "text", [b"1-Jan-1970", b"01-Jan-1970 24:00:00 +0000", b"01-Jan-1970 00:00:00", b"40-Jan-1970 00:00:00 +0000"]
)
def test_what_is_no_date_time(text: bytes) -> None:
    with pytest.raises(Bad):
        parse_date_time(text)


@given(st.integers(0, 4_000_000_000), st.integers(-14 * 60, 14 * 60))
def test_writing_and_reading_give_the_same(seconds: int, zone: int) -> None:
    assert parse_date_time(format_date_time(seconds, zone)[1:-1]) == (float(seconds), zone)


@given(st.floats(-1e18, 1e18), st.integers(-1440, 1440))
def test_no_moment_is_too_far(seconds: float, zone: int) -> None:
    assert len(format_date_time(seconds, zone)) == 28


def test_days_are_those_of_the_zone_given() -> None:
    seconds, zone = parse_date_time(b"08-Feb-1994 23:59:59 +1200")
    assert local_day(seconds, zone) == day_number(1994, 2, 8)
