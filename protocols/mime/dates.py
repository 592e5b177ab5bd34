"""Dates of header fields: RFC 5322 section 3.3 with the obsolete forms of section 4.3, and what else is found there."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz

from .parameters import strip_comments

_DATE = re.compile(
    rb"(?:[A-Za-z]{3,9}\.?,?\s+)?([0-9]{1,2})[\s\-]+([A-Za-z]{3,9})\.?,?[\s\-]+([0-9]{2,4})(?:,?\s+"
    rb"([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2})(?:\.[0-9]{1,9})?)?\s*([+\-][0-9]{1,4}|[A-Za-z]{1,5}(?![A-Za-z]))?)?"
)
_ISO = re.compile(
    rb"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]{1,9})?)?\s*"
    rb"(?:Z|([+\-][0-9]{2}:?[0-9]{2}))?"
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"], 1
    )
}
_ZONES = {b"UT": 0, b"GMT": 0, b"UTC": 0, b"Z": 0, b"EST": -5, b"EDT": -4, b"CST": -6, b"CDT": -5, b"MST": -7}
_ZONES |= {b"MDT": -6, b"PST": -8, b"PDT": -7, b"CET": 1, b"MET": 1, b"CEST": 2, b"MEST": 2, b"BST": 1, b"EET": 2}
_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

DATE_OCTETS_MAX = 200
"""Longer values are no dates."""


def parse_date(value: bytes | str) -> datetime | None:
    """The moment a date field names, with its own offset from UTC; None when it names none. Never raises.

    An unknown zone counts as UTC (RFC 5322 section 4.3 says so of military letters), as does a missing one.
    """
    octets = value.encode("ascii", "replace") if isinstance(value, str) else value
    if len(octets) > DATE_OCTETS_MAX:
        return None
    octets = strip_comments(octets).strip()
    match = _DATE.match(octets)
    if match is not None and (month := _MONTHS.get(match[2][:3].lower())):
        year = int(match[3])
        if len(match[3]) == 2:
            year += 2000 if year < 50 else 1900
        elif len(match[3]) == 3:
            year += 1900
        return _build(year, month, int(match[1]), match[4], match[5], match[6], _zone(match[7]))
    match = _ISO.match(octets)
    if match is not None:
        zone = match[7].replace(b":", b"") if match[7] else None
        return _build(int(match[1]), int(match[2]), int(match[3]), match[4], match[5], match[6], _zone(zone))
    return _stdlib(octets)


def _zone(zone: bytes | None) -> int:
    """Minutes east of Greenwich."""
    if not zone:
        return 0
    if zone[0] in b"+-":
        digits = int(zone[1:])
        minutes = digits * 60 if len(zone) <= 3 else digits // 100 * 60 + digits % 100
        return (-minutes if zone[0] == 0x2D else minutes) if minutes < 1440 else 0
    return _ZONES.get(zone.upper(), 0) * 60


def _build(
    year: int, month: int, day: int, hour: bytes | None, minute: bytes | None, second: bytes | None, zone: int
) -> datetime | None:
    try:
        return datetime(
            year,
            month,
            day,
            int(hour or 0),
            int(minute or 0),
            min(int(second or 0), 59),  # a leap second
            tzinfo=UTC if zone == 0 else timezone(timedelta(minutes=zone)),
        )
    except (ValueError, OverflowError):
        return None


def _stdlib(octets: bytes) -> datetime | None:
    """asctime and the other orders that the standard library knows."""
    try:
        parsed = parsedate_tz(octets.decode("ascii", "replace"))
        if parsed is None:
            return None
        year, month, day, hour, minute, second = (int(number) for number in parsed[:6])
        offset = int(parsed[9] or 0)
        zone = offset // 60 if abs(offset) < 86400 else 0
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return _build(year, month, day, b"%d" % hour, b"%d" % minute, b"%d" % second, zone)


def format_date(moment: datetime) -> bytes:
    """An RFC 5322 date-time. A moment without an offset counts as UTC."""
    offset = moment.utcoffset() or timedelta()
    minutes = int(offset.total_seconds() // 60)
    sign = "-" if minutes < 0 else "+"
    minutes = abs(minutes)
    return (
        f"{_DAY_NAMES[moment.weekday()]}, {moment.day:02} {_MONTH_NAMES[moment.month - 1]} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} {sign}{minutes // 60:02}{minutes % 60:02}"
    ).encode("ascii")
