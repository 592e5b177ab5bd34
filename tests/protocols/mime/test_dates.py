"""protocols/mime/dates.py"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mime.dates import format_date, parse_date


def at(*fields: int, minutes: int = 0) -> datetime:
    return datetime(*fields, tzinfo=timezone(timedelta(minutes=minutes)))  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Fri, 21 Nov 1997 09:55:06 -0600", at(1997, 11, 21, 9, 55, 6, minutes=-360)),
        ("21 Nov 97 09:55:06 GMT", at(1997, 11, 21, 9, 55, 6)),
        ("21 Nov 97 09:55 EST", at(1997, 11, 21, 9, 55, minutes=-300)),
        ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", None),
        ("Thu,\r\n\t13 Feb 1969 23:32 -0330 (Newfoundland Time)", at(1969, 2, 13, 23, 32, minutes=-210)),
        ("Mon Jan  5 12:00:01 2004", at(2004, 1, 5, 12, 0, 1)),
        ("2004-01-05T12:00:01Z", at(2004, 1, 5, 12, 0, 1)),
        ("2004-01-05 12:00:01.25 +01:00", at(2004, 1, 5, 12, 0, 1, minutes=60)),
        ("Tuesday, 1-Apr-2003 10:00:00 A", at(2003, 4, 1, 10)),
        ("1 Jan 2000 23:59:60 +0000", at(2000, 1, 1, 23, 59, 59)),
        ("1 Jan 100 00:00:00 +0000", at(2000, 1, 1)),
        ("1 Jan 2000 00:00:00 +9999", at(2000, 1, 1)),
        ("1 Jan 2000", at(2000, 1, 1)),
        ("32 Jan 2000 00:00:00 +0000", None),
        ("1 Foo 2000 00:00:00 +0000", None),
        ("", None),
        ("nonsense", None),
        ("1 " * 1000, None),
    ],
)
def test_parse(value: str, expected: datetime | None) -> None:
    parsed = parse_date(value)
    if "comment)" in value:
        assert parsed is None or parsed.year == 1997
        return
    assert parsed == expected
    if expected is not None:
        assert parsed is not None
        assert parsed.utcoffset() == expected.utcoffset()


@settings(max_examples=200)
@given(
    st.datetimes(min_value=datetime(1901, 1, 1), max_value=datetime(2999, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_format_then_parse(moment: datetime, minutes: int) -> None:
    aware = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    parsed = parse_date(format_date(aware))
    assert parsed == aware
    assert parsed is not None
    assert parsed.utcoffset() == aware.utcoffset()


def test_format() -> None:
    assert format_date(datetime(2026, 11, 24, 6, 5, 4, tzinfo=UTC)) == b"Tue, 24 Nov 2026 06:05:04 +0000"


@settings(max_examples=300)
@given(st.text(alphabet="0123456789 :+-,ABCDJanFeb()T.Z", max_size=40))
def test_never_raises(value: str) -> None:
    parsed = parse_date(value)
    assert parsed is None or parsed.tzinfo is not None
