"""Properties → header fields (MS-OXCMAIL section 2.2.3.1 and 2.2.3.2).

Where PR_TRANSPORT_MESSAGE_HEADERS holds a field whose properties have not been changed since, that field is written as
it was: trace fields, comments and folding survive the change of something else.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Final

from emulator.properties import MAPI_BCC, MAPI_CC, MAPI_TO, PropertyBag, PropertyMessage, Recipient, from_filetime
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
    PR_MESSAGE_LOCALE_ID,
    PR_NORMALIZED_SUBJECT,
    PR_ORIGINATOR_DELIVERY_REPORT_REQUESTED,
    PR_PRIORITY,
    PR_READ_RECEIPT_EMAIL_ADDRESS,
    PR_READ_RECEIPT_NAME,
    PR_READ_RECEIPT_REQUESTED,
    PR_REPLY_RECIPIENT_ENTRIES,
    PR_REPLY_RECIPIENT_NAMES,
    PR_REPLY_TIME,
    PR_SENDER_EMAIL_ADDRESS,
    PR_SENDER_NAME,
    PR_SENSITIVITY,
    PR_SENT_REPRESENTING_EMAIL_ADDRESS,
    PR_SENT_REPRESENTING_NAME,
    PR_SUBJECT,
    PR_SUBJECT_PREFIX,
    PR_TNEF_CORRELATION_KEY,
    PR_TRANSPORT_MESSAGE_HEADERS,
    PS_INTERNET_HEADERS,
    Key,
    NamedProperty,
)
from protocols.mime import HeaderBlock, parse
from protocols.mime.address import format_mailbox
from protocols.mime.dates import format_date
from protocols.mime.headers import unfold
from protocols.mime.words import LINE_OCTETS_MAX, encode_phrase, encode_words, fold

from . import envelope, locales
from .addresses import read_flat_entry_list, read_one_off
from .mime_writer import Allow, Field, has_short_lines

_NAME: Final = re.compile(r"[!-9;-~]{1,76}\Z")
_STRUCTURAL: Final = frozenset(
    {b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id", b"content-location"}
    | {b"content-base", b"content-description", b"content-md5", b"content-length", b"mime-version"}
)
_IMPORTANCES: Final = {0: b"low", 1: b"normal", 2: b"high"}
_X_PRIORITIES: Final = {0: b"5", 1: b"3", 2: b"1"}
_PRIORITIES: Final = {-1: b"non-urgent", 0: b"normal", 1: b"urgent"}
_SENSITIVITIES: Final = {0: b"normal", 1: b"personal", 2: b"private", 3: b"company-confidential"}
_SUPPRESSIONS: Final = {1: "DR", 2: "NDR", 4: "RN", 8: "NRN", 16: "OOF", 32: "AutoReply"}
_MSG_ID_LINE_OCTETS: Final = 78


class _Writer:
    """The fields that the properties of one message give."""

    def __init__(self, message: PropertyMessage, allow: Allow) -> None:
        self.message = message
        self.get = message.properties.get
        self.utf8 = bool(allow & Allow.UTF8)

    def text(self, name: bytes, text: str) -> bytes:
        if self.utf8 and text.isprintable() and "=?" not in text:
            return fold(text.encode("utf-8", "replace"), len(name) + 2, LINE_OCTETS_MAX)
        return encode_words(text, len(name) + 2)

    def mailbox(self, name: str, email: str) -> bytes:
        address = format_mailbox(_ascii_domain(email).encode("utf-8", "replace"))
        if not name or name == email:
            return address
        if not email:
            return self.phrase(name) + b" <>"
        return self.phrase(name) + b" <" + address + b">"

    def phrase(self, name: str) -> bytes:
        if self.utf8 and not name.isascii() and name.isprintable() and "=?" not in name:
            return b'"' + name.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8") + b'"'
        return encode_phrase(name)

    def mailboxes(self, field: bytes, people: list[tuple[str, str]]) -> bytes | None:
        if not people:
            return None
        out: list[bytes] = []
        used = len(field) + 2
        for index, (name, email) in enumerate(people):
            item = self.mailbox(name, email)
            if index:
                folded = used + 2 + len(item) > LINE_OCTETS_MAX
                out.append(b",\r\n " if folded else b", ")
                used = 1 if folded else used + 2
            out.append(fold(item, used, LINE_OCTETS_MAX))
            used += len(item) if b"\r\n" not in out[-1] else len(out[-1].rpartition(b"\r\n")[2]) - used
        return b"".join(out)

    # --- one method a field: its value, or None -----------------------------------------------------------------------

    def author(self, field: bytes) -> bytes | None:
        name, email = self.get(PR_SENT_REPRESENTING_NAME, ""), self.get(PR_SENT_REPRESENTING_EMAIL_ADDRESS, "")
        if not name and not email:
            name, email = self.get(PR_SENDER_NAME, ""), self.get(PR_SENDER_EMAIL_ADDRESS, "")
        return self.mailboxes(field, [(name, email)]) if name or email else None

    def sender(self, field: bytes) -> bytes | None:
        person = (self.get(PR_SENDER_NAME, ""), self.get(PR_SENDER_EMAIL_ADDRESS, ""))
        author = (self.get(PR_SENT_REPRESENTING_NAME, ""), self.get(PR_SENT_REPRESENTING_EMAIL_ADDRESS, ""))
        if person == author or not any(person) or not any(author):
            return None
        return self.mailboxes(field, [person])

    def rows(self, kind: int) -> Callable[[bytes], bytes | None]:
        def write(field: bytes) -> bytes | None:
            return self.mailboxes(field, [(row.name, row.email) for row in self.message.recipients if row.type == kind])

        return write

    def reply_to(self, field: bytes) -> bytes | None:
        entries = read_flat_entry_list(self.get(PR_REPLY_RECIPIENT_ENTRIES, b""))
        people = [(found[0], found[2]) for entry in entries if (found := read_one_off(entry)) is not None]
        return self.mailboxes(field, people)

    def subject(self, field: bytes) -> bytes | None:
        subject = self.get(PR_SUBJECT)
        if subject is None:
            normalised = self.get(PR_NORMALIZED_SUBJECT)
            subject = None if normalised is None else self.get(PR_SUBJECT_PREFIX, "") + normalised
        return None if subject is None else self.text(field, subject)

    def topic(self, field: bytes) -> bytes | None:
        topic = self.get(PR_CONVERSATION_TOPIC)
        subject = self.get(PR_SUBJECT)
        if topic is None or (subject is not None and envelope.split_subject(subject)[1] == topic):
            return None
        return self.text(field, topic)

    def index(self, _: bytes) -> bytes | None:
        index = self.get(PR_CONVERSATION_INDEX)
        return base64.b64encode(index) if index else None

    def date(self, key: int) -> Callable[[bytes], bytes | None]:
        def write(_: bytes) -> bytes | None:
            value = self.get(key)
            moment = None if value is None else from_filetime(value)
            return None if moment is None else format_date(moment)

        return write

    def plain(self, key: int) -> Callable[[bytes], bytes | None]:
        def write(field: bytes) -> bytes | None:
            text = self.get(key)
            return self.text(field, " ".join(text.split())) if text else None

        return write

    def fixed(self, text: str) -> Callable[[bytes], bytes | None]:
        return lambda field: self.text(field, text)

    def choice(self, key: int, words: dict[int, bytes]) -> Callable[[bytes], bytes | None]:
        return lambda _: words.get(self.get(key))

    def priority(self, _: bytes) -> bytes | None:
        return _X_PRIORITIES.get(self.get(PR_IMPORTANCE)) if self.get(PR_IMPORTANCE) != 1 else None

    def read_receipt(self, field: bytes) -> bytes | None:
        if not self.get(PR_READ_RECEIPT_REQUESTED):
            return None
        person = (self.get(PR_READ_RECEIPT_NAME, ""), self.get(PR_READ_RECEIPT_EMAIL_ADDRESS, ""))
        return self.mailboxes(field, [person]) if any(person) else self.author(field)

    def delivery_receipt(self, field: bytes) -> bytes | None:
        return self.author(field) if self.get(PR_ORIGINATOR_DELIVERY_REPORT_REQUESTED) else None

    def auto_submitted(self, _: bytes) -> bytes | None:
        if not self.get(PR_AUTO_FORWARDED) or NamedProperty(PS_INTERNET_HEADERS, "auto-submitted") in (
            self.message.properties
        ):
            return None
        return b"auto-generated"

    def suppress(self, _: bytes) -> bytes | None:
        flags = self.get(PR_AUTO_RESPONSE_SUPPRESS)
        if flags is None:
            return None
        if flags == -1:
            return b"All"
        words = [word for bit, word in _SUPPRESSIONS.items() if flags & bit]
        return ", ".join(words).encode("ascii") or b"None"

    def language(self, _: bytes) -> bytes | None:
        return locales.tag(self.get(PR_MESSAGE_LOCALE_ID, 0)).encode("ascii") or None

    def keywords(self, field: bytes) -> bytes | None:
        words = self.get(KEYWORDS)
        return self.text(field, ", ".join(words)) if words else None

    def correlator(self, _: bytes) -> bytes | None:
        key = self.get(PR_TNEF_CORRELATION_KEY)
        value: bytes | None = None if not key else key.rstrip(b"\0")
        return value if value and value.isascii() and value.decode("ascii").isprintable() else None

    def level(self, _: bytes) -> bytes | None:
        value = self.get(PR_CONTENT_FILTER_SCL)
        return None if value is None else b"%d" % value

    def table(self) -> list[tuple[bytes, tuple[Key, ...], Callable[[bytes], bytes | None]]]:
        """(field, properties it says, function that writes it) in the order of a canonical header."""
        author = (PR_SENT_REPRESENTING_NAME, PR_SENT_REPRESENTING_EMAIL_ADDRESS)
        person = (PR_SENDER_NAME, PR_SENDER_EMAIL_ADDRESS)
        return [
            (b"From", author, self.author),
            (b"Sender", person, self.sender),
            (b"Reply-To", (PR_REPLY_RECIPIENT_NAMES, PR_REPLY_RECIPIENT_ENTRIES), self.reply_to),
            (b"To", (), self.rows(MAPI_TO)),
            (b"Cc", (), self.rows(MAPI_CC)),
            (b"Bcc", (), self.rows(MAPI_BCC)),
            (b"Subject", (PR_SUBJECT,), self.subject),
            (b"Thread-Topic", (PR_CONVERSATION_TOPIC,), self.topic),
            (b"Thread-Index", (PR_CONVERSATION_INDEX,), self.index),
            (b"Date", (PR_CLIENT_SUBMIT_TIME,), self.date(PR_CLIENT_SUBMIT_TIME)),
            (b"Message-ID", (PR_INTERNET_MESSAGE_ID,), self.plain(PR_INTERNET_MESSAGE_ID)),
            (b"In-Reply-To", (PR_IN_REPLY_TO_ID,), self.plain(PR_IN_REPLY_TO_ID)),
            (b"References", (PR_INTERNET_REFERENCES,), self.plain(PR_INTERNET_REFERENCES)),
            (b"Importance", (PR_IMPORTANCE,), self.choice(PR_IMPORTANCE, _IMPORTANCES)),
            (b"X-Priority", (PR_IMPORTANCE,), self.priority),
            (b"Priority", (PR_PRIORITY, PR_IMPORTANCE), self.choice(PR_PRIORITY, _PRIORITIES)),
            (b"Sensitivity", (PR_SENSITIVITY,), self.choice(PR_SENSITIVITY, _SENSITIVITIES)),
            (
                b"Disposition-Notification-To",
                (PR_READ_RECEIPT_REQUESTED, PR_READ_RECEIPT_NAME, PR_READ_RECEIPT_EMAIL_ADDRESS),
                self.read_receipt,
            ),
            (b"Return-Receipt-To", (PR_ORIGINATOR_DELIVERY_REPORT_REQUESTED,), self.delivery_receipt),
            (b"Expires", (PR_EXPIRY_TIME,), self.date(PR_EXPIRY_TIME)),
            (b"Reply-By", (PR_REPLY_TIME,), self.date(PR_REPLY_TIME)),
            (b"Deferred-Delivery", (PR_DEFERRED_DELIVERY_TIME,), self.date(PR_DEFERRED_DELIVERY_TIME)),
            (b"Precedence", (PR_INTERNET_PRECEDENCE,), self.plain(PR_INTERNET_PRECEDENCE)),
            (b"Auto-Submitted", (PR_AUTO_FORWARDED,), self.auto_submitted),
            (b"X-Auto-Response-Suppress", (PR_AUTO_RESPONSE_SUPPRESS,), self.suppress),
            (b"Content-Language", (PR_MESSAGE_LOCALE_ID,), self.language),
            (b"Keywords", (KEYWORDS,), self.keywords),
            (b"List-Help", (PR_LIST_HELP,), self.plain(PR_LIST_HELP)),
            (b"List-Subscribe", (PR_LIST_SUBSCRIBE,), self.plain(PR_LIST_SUBSCRIBE)),
            (b"List-Unsubscribe", (PR_LIST_UNSUBSCRIBE,), self.plain(PR_LIST_UNSUBSCRIBE)),
            (b"X-MS-TNEF-Correlator", (PR_TNEF_CORRELATION_KEY,), self.correlator),
            (b"X-MS-Exchange-Organization-SCL", (PR_CONTENT_FILTER_SCL,), self.level),
        ]


_PLAIN_US_ASCII: Final = (b"Content-Type", b"text/plain; charset=us-ascii")
_SINGLE: Final = frozenset(b"from sender reply-to subject date message-id in-reply-to references".split())
"""Fields that may stand in a header once (RFC 5322 section 3.6); the first is the one that was read."""
_SYNONYMS: Final = {
    b"expiry-date": (PR_EXPIRY_TIME,),
    b"x-msmail-priority": (PR_IMPORTANCE,),
}
"""Fields that are read, but written under another name."""


_Write = Callable[[bytes], bytes | None]
_Written = dict[bytes, tuple[tuple[Key, ...], _Write, bytes]]
"""By lower-case name: the properties a field says, the function that writes its value, and the name as written."""


def _ascii_domain(email: str) -> str:
    """The address with its domain as A-labels (RFC 5890), where that can be."""
    mailbox, at, domain = email.rpartition("@")
    if not at or domain.isascii() or not mailbox.isascii():
        return email
    try:
        return mailbox + at + domain.encode("idna").decode("ascii")
    except UnicodeError:
        return email


def _people(rows: list[Recipient], kind: int) -> list[tuple[str, str]]:
    return [(row.name, row.email) for row in rows if row.type == kind]


def header_fields(message: PropertyMessage, content: list[Field], allow: Allow) -> list[Field]:
    """Fields of the header in order; `content` are the content fields of the root entity."""
    writer = _Writer(message, allow)
    written: _Written = {}
    for field, keys, write in writer.table():
        written[field.lower()] = (keys, write, field)
    for key, value in message.properties.items():
        if isinstance(key, NamedProperty) and key.guid == PS_INTERNET_HEADERS and isinstance(value, str):
            name = str(key.name)
            lower = name.lower().encode("ascii", "replace")
            if _NAME.match(name) and lower not in written and lower not in envelope.NOT_PROMOTED:
                label = name.title().encode("ascii") if name.islower() else name.encode("ascii")
                written[lower] = ((key,), writer.fixed(value), label)
            elif lower == b"auto-submitted":
                written[lower] = ((key,), writer.fixed(value), b"Auto-Submitted")
    fields, said = _kept_fields(message, written, content, utf8=writer.utf8)
    for keys, write, field in written.values():
        if keys and said.issuperset(keys):
            continue
        value = write(field)
        if value is not None:
            fields.append((field, value))
    names = {name.lower() for name, _ in fields}
    if b"mime-version" not in names:
        if message.get(PR_TRANSPORT_MESSAGE_HEADERS) and content == [_PLAIN_US_ASCII] and b"content-type" not in names:
            # it was no MIME message, and it need not become one
            return fields
        if not _kept_type(message, fields):
            fields.append((b"MIME-Version", b"1.0"))
    fields += [item for item in content if item[0].lower() not in names]
    return fields


_IDENTITIES: Final = (b"7bit", b"8bit", b"binary")
"""Encodings that encode nothing; each allows what those before it allow (RFC 2045 section 6.2)."""


def _says_the_same(name: bytes, old: bytes, new: bytes) -> bool:
    """Whether the value that a content field had may stay, for what would be written now."""
    if b" ".join(new.lower().split()) == b" ".join(old.lower().split()):
        return True
    if name == b"content-transfer-encoding":
        before, now = old.strip().lower(), new.strip().lower()
        return before in _IDENTITIES and now in _IDENTITIES and _IDENTITIES.index(before) >= _IDENTITIES.index(now)
    if name == b"content-disposition":
        was, will = parse(name + b": " + old + b"\r\n\r\n"), parse(name + b": " + new + b"\r\n\r\n")
        named = {key: value for key, value in was.disposition_params.items() if value}
        return was.disposition == will.disposition and named == will.disposition_params
    return name == b"content-id" and old.strip() == new.strip()


def _says_nothing(name: bytes, value: bytes) -> bool:
    """Whether a content field that would not be written now may stay."""
    if name != b"content-disposition":
        return False
    part = parse(name + b": " + value + b"\r\n\r\n")
    return part.disposition in {"inline", "attachment"} and not any(part.disposition_params.values())


def _kept_type(message: PropertyMessage, fields: list[Field]) -> bool:
    """Whether the old header had this Content-Type, word for word, without claiming to be MIME.

    Such a message is left as it is (RFC 2045 section 4 asks for MIME-Version of what claims to conform).
    """
    text = message.get(PR_TRANSPORT_MESSAGE_HEADERS)
    if not text:
        return False
    octets = text.encode("utf-8", "surrogateescape")
    old = HeaderBlock(octets, 0, len(octets)).get(b"content-type")
    return old is not None and any(name.lower() == b"content-type" and unfold(value) == old for name, value in fields)


def _kept_fields(
    message: PropertyMessage,
    written: _Written,
    content: list[Field],
    *,
    utf8: bool,
) -> tuple[list[Field], set[Key]]:
    """Fields of the old header that still say what the properties say, and these; they are taken out of `written`."""
    old_text = message.get(PR_TRANSPORT_MESSAGE_HEADERS)
    if not old_text:
        return [], set()
    octets = old_text.encode("utf-8", "surrogateescape")
    headers = HeaderBlock(octets, 0, len(octets))
    old = PropertyBag(envelope.header_properties(headers, None, envelope.RECIPIENTS_MAX))
    old_rows = envelope.recipients(headers, envelope.RECIPIENTS_MAX)
    current = message.properties
    structural = {name.lower(): value for name, value in content}
    structural.setdefault(b"content-transfer-encoding", b"7bit")
    rows = {
        name: _people(old_rows, kind) == _people(message.recipients, kind)
        for name, kind in ((b"to", MAPI_TO), (b"cc", MAPI_CC), (b"bcc", MAPI_BCC))
    }
    kept: list[Field] = []
    seen: set[bytes] = set()
    said: set[Key] = set()
    for name, _, raw in headers.raw:
        lower = name.lower()
        value = raw.removesuffix(b"\n").removesuffix(b"\r")
        if not name or not name.isascii() or not (value.isascii() or utf8):
            continue
        if lower in seen and lower in _SINGLE:
            continue
        if lower == b"mime-version":
            if lower not in seen:
                kept.append((name, value))
        elif lower in _STRUCTURAL:
            if lower in structural and lower not in seen:
                same = _says_the_same(lower, value, structural[lower])
                kept.append((name, value if same else structural[lower]))
            elif lower not in structural and lower not in seen and _says_nothing(lower, value):
                kept.append((name, value))
        elif lower in written or lower in _SYNONYMS or lower in seen:
            keys = _SYNONYMS[lower] if lower in _SYNONYMS else written[lower][0] if lower in written else None
            same = keys is None or (rows[lower] if lower in rows else all(old.get(k) == current.get(k) for k in keys))
            if same and (NamedProperty not in map(type, keys or ()) or has_short_lines(name + b": " + value)):
                kept.append((name, value))
                written.pop(lower, None)
                said.update(keys or ())
        elif lower in envelope.NOT_PROMOTED or lower.startswith(b"resent-"):
            kept.append((name, value))
        seen.add(lower)
    return kept, said
