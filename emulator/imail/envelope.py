"""Header fields → properties (MS-OXCMAIL section 2.1.3.2)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime

from emulator.properties import MAPI_BCC, MAPI_CC, MAPI_TO, Lazy, Recipient, Value, filetime
from emulator.property_tags import (
    KEYWORDS,
    PR_AUTO_FORWARDED,
    PR_AUTO_RESPONSE_SUPPRESS,
    PR_CLIENT_SUBMIT_TIME,
    PR_CONTENT_FILTER_SCL,
    PR_CONVERSATION_INDEX,
    PR_CONVERSATION_TOPIC,
    PR_DEFERRED_DELIVERY_TIME,
    PR_EXPIRY_TIME,
    PR_IMPORTANCE,
    PR_IN_REPLY_TO_ID,
    PR_INTERNET_MESSAGE_ID,
    PR_INTERNET_PRECEDENCE,
    PR_INTERNET_REFERENCES,
    PR_LIST_HELP,
    PR_LIST_SUBSCRIBE,
    PR_LIST_UNSUBSCRIBE,
    PR_MESSAGE_DELIVERY_TIME,
    PR_MESSAGE_LOCALE_ID,
    PR_NORMALIZED_SUBJECT,
    PR_ORIGINATOR_DELIVERY_REPORT_REQUESTED,
    PR_PRIORITY,
    PR_READ_RECEIPT_ADDRTYPE,
    PR_READ_RECEIPT_EMAIL_ADDRESS,
    PR_READ_RECEIPT_ENTRYID,
    PR_READ_RECEIPT_NAME,
    PR_READ_RECEIPT_REQUESTED,
    PR_READ_RECEIPT_SMTP_ADDRESS,
    PR_REPLY_RECIPIENT_ENTRIES,
    PR_REPLY_RECIPIENT_NAMES,
    PR_REPLY_TIME,
    PR_SENDER_ADDRTYPE,
    PR_SENDER_EMAIL_ADDRESS,
    PR_SENDER_ENTRYID,
    PR_SENDER_NAME,
    PR_SENDER_SMTP_ADDRESS,
    PR_SENSITIVITY,
    PR_SENT_REPRESENTING_ADDRTYPE,
    PR_SENT_REPRESENTING_EMAIL_ADDRESS,
    PR_SENT_REPRESENTING_ENTRYID,
    PR_SENT_REPRESENTING_NAME,
    PR_SENT_REPRESENTING_SMTP_ADDRESS,
    PR_SUBJECT,
    PR_SUBJECT_PREFIX,
    PR_TNEF_CORRELATION_KEY,
    PR_TRANSPORT_MESSAGE_HEADERS,
    PS_INTERNET_HEADERS,
    Key,
    NamedProperty,
)
from protocols.mime import HeaderBlock
from protocols.mime.charsets import decode_text
from protocols.mime.dates import parse_date
from protocols.mime.words import decode_words

from . import locales
from .addresses import flat_entry_list, mailboxes, one_off_entry_id, recipient

Values = dict[Key, Value]

_PREFIX = re.compile(r"([^\W\d_]{1,3}): (?=.)", re.DOTALL)
RECIPIENTS_MAX = 32_766
"""Rows of the recipients table (KB Q272672 has this number)."""
RECIPIENTS_FREE = 5_000
OCTETS_PER_RECIPIENT_MIN = 100
"""Of the header for each row behind the first RECIPIENTS_FREE: what names people more densely than this is no mail."""
IMPORTANCE = {"low": 0, "non-urgent": 0, "normal": 1, "high": 2, "urgent": 2}
PRIORITY = {"non-urgent": -1, "normal": 0, "urgent": 1}
SENSITIVITY = {"normal": 0, "personal": 1, "private": 2, "company-confidential": 3}
SUPPRESS = {"dr": 1, "ndr": 2, "rn": 4, "nrn": 8, "oof": 16, "autoreply": 32, "all": 0xFFFF_FFFF, "none": 0}

SENDER = (PR_SENDER_NAME, PR_SENDER_ADDRTYPE, PR_SENDER_EMAIL_ADDRESS, PR_SENDER_SMTP_ADDRESS, PR_SENDER_ENTRYID)
SENT_REPRESENTING = (
    PR_SENT_REPRESENTING_NAME,
    PR_SENT_REPRESENTING_ADDRTYPE,
    PR_SENT_REPRESENTING_EMAIL_ADDRESS,
    PR_SENT_REPRESENTING_SMTP_ADDRESS,
    PR_SENT_REPRESENTING_ENTRYID,
)
READ_RECEIPT = (
    PR_READ_RECEIPT_NAME,
    PR_READ_RECEIPT_ADDRTYPE,
    PR_READ_RECEIPT_EMAIL_ADDRESS,
    PR_READ_RECEIPT_SMTP_ADDRESS,
    PR_READ_RECEIPT_ENTRYID,
)

NOT_PROMOTED = frozenset(
    b"from sender to cc bcc reply-to subject date message-id in-reply-to references mime-version content-type "
    b"content-transfer-encoding content-disposition content-id content-location content-base content-description "
    b"content-md5 content-length received return-path thread-topic thread-index importance x-priority "
    b"x-msmail-priority priority sensitivity return-receipt-to disposition-notification-to expires expiry-date "
    b"reply-by deferred-delivery precedence x-auto-response-suppress content-language keywords list-help "
    b"list-subscribe list-unsubscribe x-ms-tnef-correlator x-ms-exchange-organization-scl".split()
)
"""Fields that have properties of their own, or say nothing once the octets are gone."""


def split_subject(subject: str) -> tuple[str, str]:
    """(prefix, normalised subject): up to three letters, colon, blank (MS-OXCMSG 2.2.1.9)."""
    match = _PREFIX.match(subject)
    return (match[0], subject[match.end() :]) if match else ("", subject)


def header_properties(headers: HeaderBlock, received_at: float | None, addresses_max: int) -> Values:
    """Properties of the message that its header block holds. Never raises."""
    values: Values = {}
    _subject(headers, values)
    _originators(headers, values, _allowance(headers, addresses_max))
    present = headers.first
    for name, key in _TEXTS:
        if name in present and (raw := headers.get(name)) is not None and (text := " ".join(decode_words(raw).split())):
            values[key] = text
    for name, key in _DATES:
        if name in present and (raw := headers.get(name)) is not None and (moment := parse_date(raw)) is not None:
            values.setdefault(key, filetime(moment))
    _delivery_time(headers, values, received_at)
    for name, read in _READERS.items():
        if name in present and (raw := headers.get(name)) is not None:
            read(raw, values)
    _named(headers, values)
    values[PR_TRANSPORT_MESSAGE_HEADERS] = Lazy(lambda: transport_headers(headers))
    return values


def transport_headers(headers: HeaderBlock) -> str | None:
    """The header block as text, with CRLF."""
    octets = headers.octets[headers.start : headers.end]
    if not octets:
        return None
    if octets.count(b"\n") != octets.count(b"\r\n"):
        octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return decode_text(octets)


def _subject(headers: HeaderBlock, values: Values) -> None:
    raw = headers.get(b"subject")
    topic_raw = headers.get(b"thread-topic")
    if raw is not None:
        subject = decode_words(raw)
        prefix, normalised = split_subject(subject)
        values[PR_SUBJECT] = subject
        values[PR_SUBJECT_PREFIX] = prefix
        values[PR_NORMALIZED_SUBJECT] = normalised
        if topic_raw is None:
            values[PR_CONVERSATION_TOPIC] = normalised
    if topic_raw is not None:
        values[PR_CONVERSATION_TOPIC] = decode_words(topic_raw)


def set_person(values: Values, keys: tuple[int, int, int, int, int], name: str, email: str) -> None:
    """The five properties that name a person."""
    values[keys[0]] = name
    values[keys[1]] = "SMTP"
    values[keys[2]] = email
    values[keys[3]] = email
    values[keys[4]] = Lazy(lambda: one_off_entry_id(name, email))


def _originators(headers: HeaderBlock, values: Values, addresses_max: int) -> None:
    sender = mailboxes(headers.get(b"sender"), 10)
    author = mailboxes(headers.get(b"from"), 10)
    if sender or author:
        set_person(values, SENDER, *(sender or author)[0])
        set_person(values, SENT_REPRESENTING, *(author or sender)[0])
    reply_to = mailboxes(headers.get(b"reply-to"), addresses_max)
    if reply_to:
        values[PR_REPLY_RECIPIENT_NAMES] = ";".join(name for name, _ in reply_to)
        values[PR_REPLY_RECIPIENT_ENTRIES] = Lazy(
            lambda: flat_entry_list([one_off_entry_id(name, email) for name, email in reply_to])
        )
    receipt = mailboxes(headers.get(b"disposition-notification-to"), 10)
    if receipt:
        values[PR_READ_RECEIPT_REQUESTED] = True
        set_person(values, READ_RECEIPT, *receipt[0])
    if headers.get(b"return-receipt-to"):
        values[PR_ORIGINATOR_DELIVERY_REPORT_REQUESTED] = True


def _delivery_time(headers: HeaderBlock, values: Values, received_at: float | None) -> None:
    if received_at is not None:
        try:
            values[PR_MESSAGE_DELIVERY_TIME] = filetime(datetime.fromtimestamp(received_at, UTC))
        except (ValueError, OverflowError, OSError):
            pass
        return
    received = headers.get(b"received")
    if received is not None:
        moment = parse_date(received.rpartition(b";")[2])
        if moment is not None:
            values[PR_MESSAGE_DELIVERY_TIME] = filetime(moment)


def _named(headers: HeaderBlock, values: Values) -> None:
    """Every other field becomes a named property whose name is that of the field; the first of several counts."""
    for name, value in headers:
        lower = name.lower()
        if lower in NOT_PROMOTED or lower.startswith(b"resent-"):
            continue
        try:
            text_name = lower.decode("ascii")
        except UnicodeDecodeError:
            continue
        key = NamedProperty(PS_INTERNET_HEADERS, text_name)
        if key not in values:
            values[key] = decode_words(value)


def _allowance(headers: HeaderBlock, addresses_max: int) -> int:
    return min(addresses_max, RECIPIENTS_FREE + (headers.end - headers.start) // OCTETS_PER_RECIPIENT_MIN)


def recipients(headers: HeaderBlock, addresses_max: int) -> list[Recipient]:
    """Rows for To, Cc and Bcc in this order; those beyond the allowance stand in the header only."""
    rows: list[Recipient] = []
    addresses_max = _allowance(headers, addresses_max)
    for name, kind in ((b"to", MAPI_TO), (b"cc", MAPI_CC), (b"bcc", MAPI_BCC)):
        for raw in headers.get_all(name):
            for display, email in mailboxes(raw, addresses_max - len(rows)):
                rows.append(recipient(display, email, kind, len(rows)))
    return rows


_TEXTS = (
    (b"message-id", PR_INTERNET_MESSAGE_ID),
    (b"in-reply-to", PR_IN_REPLY_TO_ID),
    (b"references", PR_INTERNET_REFERENCES),
    (b"precedence", PR_INTERNET_PRECEDENCE),
    (b"list-help", PR_LIST_HELP),
    (b"list-subscribe", PR_LIST_SUBSCRIBE),
    (b"list-unsubscribe", PR_LIST_UNSUBSCRIBE),
)
_DATES = (
    (b"date", PR_CLIENT_SUBMIT_TIME),
    (b"expires", PR_EXPIRY_TIME),
    (b"expiry-date", PR_EXPIRY_TIME),
    (b"reply-by", PR_REPLY_TIME),
    (b"deferred-delivery", PR_DEFERRED_DELIVERY_TIME),
)


def _word(raw: bytes) -> str:
    return raw.decode("ascii", "replace").strip().lower()


def _read_importance(raw: bytes, values: Values) -> None:
    value = IMPORTANCE.get(_word(raw))
    if value is not None:
        values[PR_IMPORTANCE] = value


def _read_x_priority(raw: bytes, values: Values) -> None:
    digit = raw.strip()[:1]
    if digit in {b"1", b"2", b"3", b"4", b"5"}:
        values.setdefault(PR_IMPORTANCE, 2 if digit < b"3" else 1 if digit == b"3" else 0)


def _read_msmail_priority(raw: bytes, values: Values) -> None:
    value = IMPORTANCE.get(_word(raw))
    if value is not None:
        values.setdefault(PR_IMPORTANCE, value)


def _read_priority(raw: bytes, values: Values) -> None:
    value = PRIORITY.get(_word(raw))
    if value is not None:
        values[PR_PRIORITY] = value
        values.setdefault(PR_IMPORTANCE, value + 1)


def _read_sensitivity(raw: bytes, values: Values) -> None:
    value = SENSITIVITY.get(_word(raw))
    if value is not None:
        values[PR_SENSITIVITY] = value


def _read_auto_submitted(raw: bytes, values: Values) -> None:
    if _word(raw).partition(";")[0].strip() not in {"", "no"}:
        values[PR_AUTO_FORWARDED] = True


def _read_suppress(raw: bytes, values: Values) -> None:
    flags = 0
    for word in _word(raw).split(","):
        flags |= SUPPRESS.get(word.strip(), 0)
    values[PR_AUTO_RESPONSE_SUPPRESS] = flags - (1 << 32) if flags >= 1 << 31 else flags


def _read_language(raw: bytes, values: Values) -> None:
    lcid = locales.lcid(_word(raw).partition(",")[0].strip())
    if lcid:
        values[PR_MESSAGE_LOCALE_ID] = lcid


def _read_keywords(raw: bytes, values: Values) -> None:
    words = tuple(word for item in decode_words(raw).split(",") if (word := item.strip()))
    if words:
        values[KEYWORDS] = words


def _read_thread_index(raw: bytes, values: Values) -> None:
    try:
        index = base64.b64decode(b"".join(raw.split()), validate=True)
    except (binascii.Error, ValueError):
        return
    if index:
        values[PR_CONVERSATION_INDEX] = index


def _read_correlator(raw: bytes, values: Values) -> None:
    values[PR_TNEF_CORRELATION_KEY] = raw + b"\0"


def _read_scl(raw: bytes, values: Values) -> None:
    try:
        value = int(raw)
    except ValueError:
        return
    if -1 <= value <= 10:
        values[PR_CONTENT_FILTER_SCL] = value


_READERS: dict[bytes, Callable[[bytes, Values], None]] = {
    b"importance": _read_importance,
    b"x-priority": _read_x_priority,
    b"x-msmail-priority": _read_msmail_priority,
    b"priority": _read_priority,
    b"sensitivity": _read_sensitivity,
    b"auto-submitted": _read_auto_submitted,
    b"x-auto-response-suppress": _read_suppress,
    b"content-language": _read_language,
    b"keywords": _read_keywords,
    b"thread-index": _read_thread_index,
    b"x-ms-tnef-correlator": _read_correlator,
    b"x-ms-exchange-organization-scl": _read_scl,
}
