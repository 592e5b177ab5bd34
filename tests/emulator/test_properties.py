"""emulator/properties.py: bags, tables and what counts as a change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.imail import inbound
from emulator.properties import Attachment, Lazy, PropertyBag, PropertyMessage, Recipient, filetime, from_filetime
from emulator.property_tags import (
    PR_ATTACH_DATA_BIN,
    PR_BODY,
    PR_DISPLAY_NAME,
    PR_SUBJECT,
    PS_INTERNET_HEADERS,
    NamedProperty,
    key_name,
    type_name,
)

OCTETS = b"Subject: s\r\nTo: a@b\r\n\r\nbody\r\n"


def test_lazy_values_are_computed_once() -> None:
    calls: list[int] = []

    def compute() -> str:
        calls.append(1)
        return "text"

    bag = PropertyBag({PR_BODY: Lazy(compute), PR_SUBJECT: Lazy(lambda: None)})
    assert not calls
    assert bag[PR_BODY] == bag.get(PR_BODY) == "text"
    assert len(calls) == 1
    assert PR_SUBJECT not in bag
    assert len(bag) == 1


def test_a_bag_is_filled_at_first_use() -> None:
    bag = PropertyBag(fill=lambda: {PR_SUBJECT: "s"})
    assert dict(bag.items()) == {PR_SUBJECT: "s"}
    bag[PR_SUBJECT] = None
    assert PR_SUBJECT not in bag
    assert bag.changed == {PR_SUBJECT}


def test_what_counts_as_a_change() -> None:
    message = inbound(OCTETS)
    assert not message.modified
    assert message.octets is OCTETS
    message.recipients[0][PR_DISPLAY_NAME] = "A"
    assert message.modified
    assert b"A <a@b>" in message.octets
    message = inbound(OCTETS)
    message.recipients.append(Recipient({PR_DISPLAY_NAME: "B"}))
    assert message.modified
    message = inbound(OCTETS)
    message.attachments.append(Attachment({PR_ATTACH_DATA_BIN: b"x"}))
    assert message.modified
    assert message.structure.content_type == "multipart/mixed"
    message = inbound(OCTETS)
    del message[PR_SUBJECT]
    assert message.modified
    message.settle()
    assert not message.modified


def test_names() -> None:
    assert key_name(PR_SUBJECT) == "PR_SUBJECT"
    assert key_name(NamedProperty(PS_INTERNET_HEADERS, "x-mailer")) == "PS_INTERNET_HEADERS:x-mailer"
    assert key_name(0x6601001F) == "0x6601001F"
    assert type_name(0x101F) == "PT_MV_UNICODE"


@settings(max_examples=100)
@given(st.datetimes(min_value=datetime(1602, 1, 1)))
def test_filetime(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert from_filetime(filetime(aware)) == aware
    assert filetime(datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=1)) == 10
    assert from_filetime(1 << 64) is None


def test_a_message_of_properties() -> None:
    message = PropertyMessage()
    message[PR_SUBJECT] = "s"
    assert message.modified
    assert message.structure.headers.get(b"subject") == b"s"
    assert PropertyMessage.from_bytes(message.to_bytes())[PR_SUBJECT] == "s"
