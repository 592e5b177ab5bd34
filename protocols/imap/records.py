"""The index of header fields by which messages are searched, sorted and threaded: one record for each content, kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from protocols.mime.address import Address, parse_addresses
from protocols.mime.dates import parse_date
from protocols.mime.structure import Part
from protocols.mime.words import decode_words

from .dates import day_number
from .texts import collated, fold, header_text

if TYPE_CHECKING:
    from .session import ImapSession

R = TypeVar("R")

SEARCH_KEY = "imap.search"
SORT_KEY = "imap.sort"
REFERENCES_MAX = 500
THREAD_ID_DIGITS = 32


class SearchRecord(NamedTuple):
    """Case-folded text of the fields that are searched most, and the day of the Date field."""

    sender: str
    to: str
    cc: str
    bcc: str
    subject: str
    message_id: str
    sent_day: int | None
    """Days since 1970-01-01 as the field gives them, whatever its zone (RFC 9051 section 6.4.4, SENTON)."""


FIELDS = {"from": 0, "to": 1, "cc": 2, "bcc": 3, "subject": 4, "message-id": 5}
"""Where a field stands in the record."""


ADDRESS_FIELDS = ("from", "to", "cc", "bcc")
ADDRESSES_MAX = 1000
"""Addresses of one field that are looked for in their plain form."""
_ODD_ADDRESS = re.compile(rb"""[\s")]@|@[\s(]|\\""")
"""Comments, quotes and white space about an @: the envelope has the address without them (RFC 9051 section 6.4.4)."""


def search_record(octets: bytes, part: Part) -> SearchRecord:
    """The record of a message."""
    headers = part.headers
    texts = ["\n".join([header_text(value) for value in headers.get_all(name)]) for name in FIELDS]
    for index, name in enumerate(ADDRESS_FIELDS):
        for value in headers.get_all(name):
            if _ODD_ADDRESS.search(value):
                emails = (address.email for address in parse_addresses(value, ADDRESSES_MAX))
                texts[index] += "\n" + fold(b" ".join(emails).decode("utf-8", "replace"))
    moment = parse_date(headers.get(b"date") or b"")
    day = None if moment is None else day_number(moment.year, moment.month, moment.day)
    return SearchRecord(texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], day)


class SortRecord(NamedTuple):
    """What SORT and THREAD compare (RFC 5256)."""

    sent: float | None
    """Seconds since the epoch; None: no Date field that can be read."""
    base_subject: str
    is_reply: bool
    """Whether the subject has the form of a reply or forward."""
    sender: str
    to: str
    cc: str
    display_sender: str
    display_to: str
    message_id: bytes
    references: tuple[bytes, ...]


_MESSAGE_ID = re.compile(rb"<\s*([^<>\s]+(?:\s+[^<>\s]+)*)\s*>")


def message_ids(value: bytes | None, most: int = REFERENCES_MAX) -> list[bytes]:
    """The message identifiers of a References field, normalised (RFC 5256 section 3)."""
    if not value:
        return []
    found = []
    for match in _MESSAGE_ID.finditer(value):
        found.append(b"<" + b"".join(match[1].split()).replace(b'"', b"") + b">")
        if len(found) >= most:
            break
    return found


def _first(value: bytes | None) -> Address | None:
    if not value:
        return None
    return next((address for address in parse_addresses(value, 50) if address.host is not None), None)


def _mailbox(address: Address | None) -> str:
    return "" if address is None else collated((address.mailbox or b"").decode("utf-8", "replace"))


def _display(address: Address | None) -> str:
    """RFC 5957 section 3: the display name, else the address."""
    if address is None:
        return ""
    if address.name:
        return collated(decode_words(address.name))
    return collated(address.email.decode("utf-8", "replace"))


def sort_record(octets: bytes, part: Part) -> SortRecord:
    """The record of a message."""
    headers = part.headers
    moment = parse_date(headers.get(b"date") or b"")
    subject, is_reply = base_subject(decode_words(headers.get(b"subject") or b""))
    sender, to, cc = (_first(headers.get(name)) for name in (b"from", b"to", b"cc"))
    own = message_ids(headers.get(b"message-id"), 1)
    references = message_ids(headers.get(b"references")) or message_ids(headers.get(b"in-reply-to"), 1)
    try:
        sent = None if moment is None else moment.timestamp()
    except (OverflowError, ValueError):
        sent = None
    return SortRecord(
        sent,
        collated(subject),
        is_reply,
        _mailbox(sender),
        _mailbox(to),
        _mailbox(cc),
        _display(sender),
        _display(to),
        own[0] if own else b"",
        tuple(references),
    )


def thread_id(octets: bytes, part: Part) -> str:
    """THREADID (RFC 8474 section 5.2): made of the message at the root of the thread, as this one names it.

    The root is the first identifier in References, else in In-Reply-To, else the message itself. So the identifier
    needs no table of messages, is the same in all mailboxes and after a restart, and never changes. A reply to a reply
    that says so by In-Reply-To alone begins a thread of its own.
    """
    headers = part.headers
    for name in (b"references", b"in-reply-to", b"message-id"):
        found = message_ids(headers.get(name), 1)
        if found:
            return "T" + sha256(found[0]).hexdigest()[:THREAD_ID_DIGITS]
    return "T" + sha256(octets).hexdigest()[:THREAD_ID_DIGITS]


# --- base subject, RFC 5256 section 2.1 -------------------------------------------------------------------------------

_TRAILER = re.compile(r"(?:\(fwd\)|\s)+\Z", re.IGNORECASE)
_BLOB = r"\[[^\[\]]*\]\s*"
_LEADER = re.compile(rf"\s+|(?:{_BLOB})*+(?:re|fwd?)\s*(?:{_BLOB})?:", re.IGNORECASE)
_LEADING_BLOB = re.compile(_BLOB)
_FORWARD_HEAD = re.compile(r"\[fwd:", re.IGNORECASE)


def base_subject(subject: str) -> tuple[str, bool]:
    """The subject without "Re:", "[Fwd: …]", "(fwd)" and the like, and whether any of them was there. Linear."""
    text = re.sub(r"\s+", " ", subject)
    is_reply = False
    while True:
        trailer = _TRAILER.search(text) if text[-1:].isspace() or text[-1:] == ")" else None
        if trailer is not None:
            is_reply |= "(" in trailer[0]
            text = text[: trailer.start()]
        position = 0
        while True:
            leader = _LEADER.match(text, position)
            if leader is not None and leader.end() > position:
                is_reply |= not leader[0].isspace()
                position = leader.end()
                continue
            blob = _LEADING_BLOB.match(text, position)
            if blob is not None and text[blob.end() :].strip():
                position = blob.end()
                continue
            break
        text = text[position:]
        if text.endswith("]") and _FORWARD_HEAD.match(text):
            text = text[5:-1]
            is_reply = True
            continue
        return text.strip(), is_reply


async def _made(session: ImapSession, message: Any, key: str, compute: Callable[[bytes, Part], R]) -> R:
    made: R = await session.services.conversion.derive(message, key, compute)
    return made


async def search_records(session: ImapSession, message: Any) -> SearchRecord:
    """The record of a message, computed when it is not there."""
    found: SearchRecord | None = message.content.derived.get(SEARCH_KEY)
    return found if found is not None else await _made(session, message, SEARCH_KEY, search_record)


async def sort_records(session: ImapSession, message: Any) -> SortRecord:
    """The record of a message, computed when it is not there."""
    return await _made(session, message, SORT_KEY, sort_record)
