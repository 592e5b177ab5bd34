"""Dates of IMAP: INTERNALDATE, SEARCH dates (RFC 9051 section 9: `date-time`, `date`), without a clock or a time zone.

Days are counted from 1970-01-01 in the proleptic Gregorian calendar.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import lru_cache

from .errors import Bad

_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_EPOCH = date(1970, 1, 1).toordinal()

_DATE_TIME = re.compile(
    rb"([ 0-3]?[0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-2][0-9]):([0-5][0-9]):([0-6][0-9]) ([+-])([0-9]{2})([0-5][0-9])"
)
_DATE = re.compile(rb"([0-3]?[0-9])-([A-Za-z]{3})-([0-9]{4})")


def day_number(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01. Raises ValueError for a day that does not exist."""
    return date(year, month, day).toordinal() - _EPOCH


def parse_date(text: bytes) -> int:
    """A SEARCH date as days since 1970-01-01. Raises Bad."""
    match = _DATE.fullmatch(text)
    month = match and _MONTH_NUMBERS.get(match[2].lower())
    if match is None or month is None:
        raise Bad("a date reads like 1-Feb-2026")
    try:
        return day_number(int(match[3]), month, int(match[1]))
    except ValueError:
        raise Bad("there is no such day") from None


def parse_date_time(text: bytes) -> tuple[float, int]:
    """INTERNALDATE as (seconds since the epoch, offset in minutes). Raises Bad."""
    match = _DATE_TIME.fullmatch(text)
    month = match and _MONTH_NUMBERS.get(match[2].lower())
    if match is None or month is None:
        raise Bad('a date and time reads like "01-Feb-2026 12:00:00 +0000"')
    hour, minute, second = int(match[4]), int(match[5]), int(match[6])
    zone = int(match[8]) * 60 + int(match[9])
    if hour > 23 or second > 60:
        raise Bad("there is no such time")
    if match[7] == b"-":
        zone = -zone
    try:
        days = day_number(int(match[3]), month, int(match[1]))
    except ValueError:
        raise Bad("there is no such day") from None
    return days * 86400.0 + hour * 3600 + minute * 60 + second - zone * 60, zone


@lru_cache(maxsize=4096)
def _day(days: int) -> bytes:
    day = date(1970, 1, 1) + timedelta(days=days)
    return b"%02d-%s-%04d" % (day.day, _MONTHS[day.month - 1], day.year)


_FIRST_DAY = date(1, 1, 1).toordinal() - _EPOCH
_LAST_DAY = date(9999, 12, 31).toordinal() - _EPOCH


def format_date_time(seconds: float, zone_minutes: int) -> bytes:
    """`"01-Feb-2026 12:00:00 +0000"` with its quotes."""
    days, rest = divmod(int(seconds // 1) + zone_minutes * 60, 86400)
    days = min(max(days, _FIRST_DAY), _LAST_DAY)
    hours, minutes = divmod(abs(zone_minutes), 60)
    sign = 0x2D if zone_minutes < 0 else 0x2B
    return b'"%s %02d:%02d:%02d %c%02d%02d"' % (
        _day(days),
        rest // 3600,
        rest // 60 % 60,
        rest % 60,
        sign,
        hours,
        minutes,
    )


def local_day(seconds: float, zone_minutes: int) -> int:
    """The day (since 1970-01-01) in the zone in which the date was given: SEARCH disregards time and zone."""
    return int((seconds + zone_minutes * 60) // 86400)
