"""Mailpit's search grammar: words that must all match; `-` or `!` before one excludes it; quotes keep words together.

from: to: cc: bcc: reply-to: addressed: subject: message-id: tag:   is in that part, in any case
is:read  is:unread  is:tagged  has:attachment  has:inline
before:2026-01-31  after:"2026-01-31 12:00"  larger:2k  smaller:1.5M
anything else                                                       is in addresses, subject, text or file names
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from harness.testing.archive import Entry
    from harness.testing.view import Contact, MessageView

QUERY_CHARACTERS_MAX = 4096
TERMS_MAX = 100
_TERM = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?(k|kb|m|mb)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}
_DATE_FORMATS = ("%Y/%m/%d", "%Y/%m/%d %H:%M", "%d %b %Y", "%b %d %Y", "%d.%m.%Y", "%m/%d/%Y", "%Y")

Match = Callable[["Entry", "MessageView"], bool]


def _contacts(contacts: Sequence[Contact]) -> str:
    return " ".join(f"{contact.name} {contact.address}" for contact in contacts).lower()


def everything(view: MessageView) -> str:
    """What a word without a prefix is looked for in, lower case; kept on the view."""
    found: str | None = view.__dict__.get("_search_text")
    if found is None:
        parts = [
            _contacts([view.sender, *view.to, *view.cc, *view.bcc, *view.reply_to]),
            view.subject,
            view.text,
            " ".join(attachment.filename for attachment in (*view.attachments, *view.inlines)),
        ]
        found = view.__dict__["_search_text"] = " ".join(" ".join(parts).lower().split())
    return found


_FIELDS: dict[str, Callable[[Entry, MessageView], str]] = {
    "to": lambda entry, view: _contacts(view.to),
    "from": lambda entry, view: _contacts([view.sender]),
    "cc": lambda entry, view: _contacts(view.cc),
    "bcc": lambda entry, view: _contacts(view.bcc),
    "reply-to": lambda entry, view: _contacts(view.reply_to),
    "addressed": lambda entry, view: _contacts([view.sender, *view.to, *view.cc, *view.bcc, *view.reply_to]),
    "subject": lambda entry, view: view.subject.lower(),
    "message-id": lambda entry, view: view.message_id.lower(),
}

_STATES: dict[str, Match] = {
    "is:read": lambda entry, view: entry.read,
    "is:unread": lambda entry, view: not entry.read,
    "is:tagged": lambda entry, view: bool(entry.tags),
    "has:attachment": lambda entry, view: bool(view.attachments),
    "has:attachments": lambda entry, view: bool(view.attachments),
    "has:inline": lambda entry, view: bool(view.inlines),
    "has:inlines": lambda entry, view: bool(view.inlines),
}


def size_in_octets(text: str) -> int:
    """`2k`, `1.5 MB`, `300`; 0 for what is no size."""
    match = _SIZE.fullmatch(text.strip())
    return int(float(match[1]) * _UNITS[(match[2] or "")[:1].lower()]) if match is not None else 0


def moment(text: str, zone: tzinfo) -> datetime | None:
    """The moment a date of a query names, in `zone` unless it says its own; None for what is no date."""
    text = text.strip()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        for form in _DATE_FORMATS:
            try:
                found = datetime.strptime(text, form)  # the zone is given below
                break
            except ValueError:
                continue
        else:
            return None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


def zone_of(name: str) -> tzinfo:
    """A zone by its IANA name; UTC for what is none."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError, LookupError):
        return UTC


def parse_query(query: str, *, zone: tzinfo = UTC) -> Match:
    """Whether a message matches. A term that means nothing (a date that is none) is passed over, as Mailpit does."""
    terms: list[tuple[bool, Match]] = []
    for match in list(_TERM.finditer(query[:QUERY_CHARACTERS_MAX]))[:TERMS_MAX]:
        word = match[0]
        exclude = len(word) > 1 and word[0] in "-!"
        found = _term((word[1:] if exclude else word).replace('"', "").strip(), zone)
        if found is not None:
            terms.append((exclude, found))
    return lambda entry, view: all(found(entry, view) is not exclude for exclude, found in terms)


def _term(word: str, zone: tzinfo) -> Match | None:
    if not any(character.isalnum() for character in word):
        return None
    state = _STATES.get(word.lower())
    if state is not None:
        return state
    prefix, colon, value = word.partition(":")
    prefix, value = prefix.lower(), value.strip()
    if colon and prefix in _FIELDS:
        return _contains(_FIELDS[prefix], value.lower()) if value else None
    if colon and prefix == "tag":
        return lambda entry, view: value.lower() in (tag.lower() for tag in entry.tags)
    if colon and prefix in ("before", "after"):
        when = moment(value, zone)
        return _dated(prefix, when.timestamp()) if when is not None else None
    if colon and prefix in ("larger", "smaller") and (size := size_in_octets(value)):
        return _sized(prefix, size)
    words = " ".join(word.lower().split())
    return lambda entry, view: words in everything(view)


def _contains(field: Callable[[Entry, MessageView], str], value: str) -> Match:
    return lambda entry, view: value in field(entry, view)


def _dated(prefix: str, when: float) -> Match:
    if prefix == "before":
        return lambda entry, view: entry.received <= when
    return lambda entry, view: entry.received >= when


def _sized(prefix: str, size: int) -> Match:
    if prefix == "larger":
        return lambda entry, view: entry.size > size
    return lambda entry, view: entry.size < size
