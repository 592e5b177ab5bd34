"""emulator/imail/tnef.py and tnef_mail.py"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.imail import inbound, outbound
from emulator.imail import tnef_stream as ts
from emulator.imail.tnef import message_from_tnef, message_to_tnef
from emulator.properties import PropertyMessage
from emulator.property_tags import (
    PR_BODY,
    PR_MESSAGE_CLASS,
    PR_SUBJECT,
    PSETID_TASK,
    PT_BOOLEAN,
    PT_LONG,
    NamedProperty,
)

TNEF = Path(__file__).parents[4] / "shared" / "corpus" / "tnef"


def streams() -> list[Path]:
    if not TNEF.is_dir():
        pytest.skip("needs ../shared/corpus")
    return sorted(TNEF.iterdir())


def same(one: PropertyMessage, other: PropertyMessage) -> None:
    assert one.properties == other.properties
    assert list(one.recipients) == list(other.recipients)
    assert list(one.attachments) == list(other.attachments)
    for left, right in zip(one.attachments, other.attachments, strict=True):
        assert (left.embedded is None) == (right.embedded is None)
        if left.embedded is not None and right.embedded is not None:
            same(left.embedded, right.embedded)


def test_streams_of_the_corpus() -> None:
    paths = streams()
    for path in paths:
        octets = path.read_bytes()
        stream = ts.read_stream(octets)
        assert stream is not None
        assert stream.to_bytes() == octets, "attribute by attribute, octet for octet"
        assert all(item.intact for item in stream.attributes)
        message = message_from_tnef(octets)
        assert message is not None
        assert len(message.properties) > 30
        again = message_from_tnef(message_to_tnef(message))
        assert again is not None
        same(message, again)


def test_attachments_of_known_streams() -> None:
    found = {path.name: message_from_tnef(path.read_bytes()) for path in streams()}
    files = {
        name.removeprefix("MimeKit_tnef_"): [(row.name, len(row.data)) for row in message.attachments]
        for name, message in found.items()
        if message is not None
    }
    assert files["two-files.tnef"] == [("AUTHORS", 244), ("README", 893)]
    assert files["one-file.tnef"] == [("AUTHORS", 244)]
    assert files["data-before-name.tnef"] == [("AUTOEXEC.BAT", 0), ("CONFIG.SYS", 0), ("boot.ini", 289)]


def test_damaged_streams_end() -> None:
    for path in streams()[:4]:
        octets = path.read_bytes()
        for cut in range(0, min(len(octets), 3000), 97):
            message_from_tnef(octets[:cut])


@settings(max_examples=100)
@given(st.binary(max_size=200), st.sampled_from([ts.ATT_MSG_PROPS, ts.ATT_RECIP_TABLE, ts.ATT_ATTACHMENT, ts.ATT_BODY]))
def test_arbitrary_attributes(data: bytes, identifier: int) -> None:
    level = 2 if identifier == ts.ATT_ATTACHMENT else 1
    message = message_from_tnef(ts.write_stream([ts.attribute(level, identifier, data)]))
    assert message is not None
    message_to_tnef(message)


def test_counts_that_lie_take_no_time() -> None:
    """2**31 steps would take longer than a test may."""
    for data in (
        b"\xff" * 8,
        b"\xff\xff\xff\x7f\x1e\x10\x37\x00\xff\xff\xff\x7f",
        b"\x01\0\0\0\x03\x10\x01\x00\xff\xff\xff\x7f",
    ):
        for identifier in (ts.ATT_MSG_PROPS, ts.ATT_RECIP_TABLE):
            message_from_tnef(ts.write_stream([ts.attribute(1, identifier, data)]))


def test_what_mime_cannot_say_travels_in_tnef() -> None:
    message = PropertyMessage()
    message[PR_MESSAGE_CLASS] = "IPM.Task"
    message[PR_SUBJECT] = "do it"
    message[PR_BODY] = "at once\r\n"
    status = NamedProperty(PSETID_TASK, 0x8101, PT_LONG)
    done = NamedProperty(PSETID_TASK, 0x811C, PT_BOOLEAN)
    message[status] = 2
    message[done] = True
    octets = outbound(message)
    assert b"application/ms-tnef" in octets
    again = inbound(octets)
    assert (again[PR_MESSAGE_CLASS], again[status], again[done]) == ("IPM.Task", 2, True)
    assert again[PR_BODY] == "at once\r\n"
    assert not again.attachments
    assert not again.modified


def test_a_wrong_correlator_keeps_the_stream_an_attachment() -> None:
    message = PropertyMessage()
    message[PR_MESSAGE_CLASS] = "IPM.Task"
    message[0x007F0102] = b"key one\0"
    octets = outbound(message)
    assert not inbound(octets).attachments
    other = inbound(octets.replace(b"X-MS-TNEF-Correlator: key one", b"X-MS-TNEF-Correlator: another"))
    assert [row.name for row in other.attachments] == ["winmail.dat"]
    assert other[PR_MESSAGE_CLASS] == "IPM.Note"
