"""emulator/imail/envelope.py and header_writer.py: header fields there and back."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.imail import inbound, outbound
from emulator.imail.envelope import split_subject
from emulator.properties import MAPI_BCC, MAPI_CC, MAPI_TO, filetime
from emulator.property_tags import (
    KEYWORDS,
    PR_AUTO_FORWARDED,
    PR_AUTO_RESPONSE_SUPPRESS,
    PR_CLIENT_SUBMIT_TIME,
    PR_CONVERSATION_INDEX,
    PR_CONVERSATION_TOPIC,
    PR_DISPLAY_NAME,
    PR_DISPLAY_TO,
    PR_EXPIRY_TIME,
    PR_IMPORTANCE,
    PR_IN_REPLY_TO_ID,
    PR_INTERNET_MESSAGE_ID,
    PR_INTERNET_REFERENCES,
    PR_LIST_UNSUBSCRIBE,
    PR_MESSAGE_DELIVERY_TIME,
    PR_MESSAGE_LOCALE_ID,
    PR_NORMALIZED_SUBJECT,
    PR_ORIGINATOR_DELIVERY_REPORT_REQUESTED,
    PR_PRIORITY,
    PR_READ_RECEIPT_EMAIL_ADDRESS,
    PR_READ_RECEIPT_REQUESTED,
    PR_REPLY_RECIPIENT_NAMES,
    PR_SENDER_EMAIL_ADDRESS,
    PR_SENDER_NAME,
    PR_SENSITIVITY,
    PR_SENT_REPRESENTING_EMAIL_ADDRESS,
    PR_SUBJECT,
    PR_SUBJECT_PREFIX,
    PR_TRANSPORT_MESSAGE_HEADERS,
    PS_INTERNET_HEADERS,
    NamedProperty,
)
from protocols.mime.dates import parse_date

MOMENT = parse_date("Tue, 24 Nov 2026 08:00:00 +0100")
assert MOMENT is not None

FIELDS: list[tuple[str, dict[Any, Any]]] = [
    ("Subject: Re: hello", {PR_SUBJECT: "Re: hello", PR_SUBJECT_PREFIX: "Re: ", PR_NORMALIZED_SUBJECT: "hello"}),
    ("Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=", {PR_SUBJECT: "grüße", PR_CONVERSATION_TOPIC: "grüße"}),
    ("Thread-Topic: other\r\nSubject: x", {PR_CONVERSATION_TOPIC: "other"}),
    ("Thread-Index: AQHZ", {PR_CONVERSATION_INDEX: b"\x01\x01\xd9"}),
    ("From: A <a@b>", {PR_SENDER_NAME: "A", PR_SENDER_EMAIL_ADDRESS: "a@b", PR_SENT_REPRESENTING_EMAIL_ADDRESS: "a@b"}),
    ("From: A <a@b>\r\nSender: c@d", {PR_SENDER_EMAIL_ADDRESS: "c@d", PR_SENT_REPRESENTING_EMAIL_ADDRESS: "a@b"}),
    ("Reply-To: X <x@y>, z@y", {PR_REPLY_RECIPIENT_NAMES: "X;z@y"}),
    ("Date: Tue, 24 Nov 2026 08:00:00 +0100", {PR_CLIENT_SUBMIT_TIME: filetime(MOMENT)}),
    ("Received: from a by b;\r\n Tue, 24 Nov 2026 08:00:00 +0100", {PR_MESSAGE_DELIVERY_TIME: filetime(MOMENT)}),
    ("Expiry-Date: Tue, 24 Nov 2026 08:00:00 +0100", {PR_EXPIRY_TIME: filetime(MOMENT)}),
    ("Message-ID: <1@x>", {PR_INTERNET_MESSAGE_ID: "<1@x>"}),
    (
        "In-Reply-To: <1@x>\r\nReferences: <0@x>\r\n\t<1@x>",
        {PR_IN_REPLY_TO_ID: "<1@x>", PR_INTERNET_REFERENCES: "<0@x> <1@x>"},
    ),
    ("Importance: High", {PR_IMPORTANCE: 2}),
    ("X-Priority: 5 (Lowest)", {PR_IMPORTANCE: 0}),
    ("Priority: urgent", {PR_PRIORITY: 1, PR_IMPORTANCE: 2}),
    ("Sensitivity: Company-Confidential", {PR_SENSITIVITY: 3}),
    ("Disposition-Notification-To: <r@x>", {PR_READ_RECEIPT_REQUESTED: True, PR_READ_RECEIPT_EMAIL_ADDRESS: "r@x"}),
    ("From: a@b\r\nReturn-Receipt-To: a@b", {PR_ORIGINATOR_DELIVERY_REPORT_REQUESTED: True}),
    ("Auto-Submitted: auto-replied", {PR_AUTO_FORWARDED: True}),
    ("Auto-Submitted: no", {PR_AUTO_FORWARDED: None}),
    ("X-Auto-Response-Suppress: OOF, AutoReply", {PR_AUTO_RESPONSE_SUPPRESS: 48}),
    ("X-Auto-Response-Suppress: All", {PR_AUTO_RESPONSE_SUPPRESS: -1}),
    ("Content-Language: de-DE", {PR_MESSAGE_LOCALE_ID: 0x407}),
    ("Content-Language: en", {PR_MESSAGE_LOCALE_ID: 9}),
    ("Keywords: one, two", {KEYWORDS: ("one", "two")}),
    ("List-Unsubscribe: <mailto:x@y>", {PR_LIST_UNSUBSCRIBE: "<mailto:x@y>"}),
    ("X-Mailer: =?utf-8?q?=C3=A9?= 1", {NamedProperty(PS_INTERNET_HEADERS, "x-mailer"): "é 1"}),
]


@pytest.mark.parametrize(("fields", "expected"), FIELDS)
def test_a_field_becomes_properties_and_these_the_field(fields: str, expected: dict[Any, Any]) -> None:
    message = inbound(fields.encode() + b"\r\n\r\nbody\r\n")
    for _ in range(2):
        assert {key: message.get(key) for key in expected} == expected
        # without the old header every field is written from properties alone
        message.forget_original()
        del message[PR_TRANSPORT_MESSAGE_HEADERS]
        if PR_MESSAGE_DELIVERY_TIME in expected:
            return
        message = inbound(outbound(message))


def test_recipients() -> None:
    octets = b"To: A <a@x>, g: b@x, c@x;\r\nCc: d@x\r\nTo: e@x\r\nBcc: f@x\r\n\r\n"
    message = inbound(octets)
    assert [(row.email, row.type) for row in message.recipients] == [
        ("a@x", MAPI_TO),
        ("b@x", MAPI_TO),
        ("c@x", MAPI_TO),
        ("e@x", MAPI_TO),
        ("d@x", MAPI_CC),
        ("f@x", MAPI_BCC),
    ]
    assert message[PR_DISPLAY_TO] == "A; b@x; c@x; e@x"


def test_time_of_receipt() -> None:
    message = inbound(b"\r\n", received_at=MOMENT.timestamp() if MOMENT else 0)
    assert message[PR_MESSAGE_DELIVERY_TIME] == filetime(MOMENT) if MOMENT else 0


@pytest.mark.parametrize(
    ("subject", "prefix"),
    [("Re: a", "Re: "), ("FWD: a", "FWD: "), ("Note: a", ""), ("R2: a", ""), ("Re:a", ""), ("Re: ", "")],
)
def test_prefixes(subject: str, prefix: str) -> None:
    assert split_subject(subject)[0] == prefix
    assert "".join(split_subject(subject)) == subject


def test_a_local_part_keeps_the_quoting_that_it_needs() -> None:
    message = inbound(b'To: "a b"@c.d, "plain"@c.d, N <"x\\"y"@c.d>\r\nSubject: s\r\n\r\nx\r\n')
    emails = ['"a b"@c.d', "plain@c.d", '"x\\"y"@c.d']
    assert [row.email for row in message.recipients] == emails
    message.recipients[0][PR_DISPLAY_NAME] = "New"
    assert [row.email for row in inbound(outbound(message)).recipients] == emails
