"""emulator/imail/msg.py"""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.imail import inbound
from emulator.imail.compound_file import write_compound_file
from emulator.imail.msg import STORE_UNICODE_OK, is_msg, message_from_msg, message_to_msg
from emulator.imail.tnef import message_from_tnef
from emulator.properties import PropertyMessage
from emulator.property_tags import (
    PR_ATTACH_DATA_OBJ,
    PR_BODY,
    PR_HTML,
    PR_INTERNET_CPID,
    PR_NATIVE_BODY_INFO,
    PR_RTF_IN_SYNC,
    PR_STORE_SUPPORT_MASK,
    PR_SUBJECT,
    PSETID_TASK,
    PT_LONG,
    NamedProperty,
)

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
DERIVED = {PR_BODY, PR_HTML, PR_INTERNET_CPID, PR_NATIVE_BODY_INFO, PR_RTF_IN_SYNC}
"""What reading derives from a compressed RTF body."""


def same(one: PropertyMessage, other: PropertyMessage) -> None:
    before, after = one.properties.as_dict(), other.properties.as_dict()
    kept = set(before) - DERIVED
    assert {key: after.get(key) for key in kept} == {key: before[key] for key in kept}
    assert not set(after) - set(before) - DERIVED
    assert list(one.recipients) == list(other.recipients)
    for left, right in zip(one.attachments, other.attachments, strict=True):
        # an OLE storage is the same tree, in sectors of another order
        assert {key: left[key] for key in left if key != PR_ATTACH_DATA_OBJ} == {
            key: right[key] for key in right if key != PR_ATTACH_DATA_OBJ
        }
    for left, right in zip(one.attachments, other.attachments, strict=True):
        if left.embedded is not None:
            assert right.embedded is not None
            same(left.embedded, right.embedded)


def test_the_corpus_as_msg_files() -> None:
    if not CORPUS.is_dir():
        pytest.skip("needs ../shared/corpus")
    for path in [*sorted(CORPUS.glob("*/*.eml"))[::9], *sorted(CORPUS.glob("tnef/*.tnef"))]:
        octets = path.read_bytes()
        message = message_from_tnef(octets) if path.suffix == ".tnef" else inbound(octets)
        assert message is not None
        packed = message_to_msg(message)
        assert is_msg(packed)
        again = message_from_msg(packed)
        assert again is not None
        if PR_STORE_SUPPORT_MASK in message:
            message[PR_STORE_SUPPORT_MASK] |= STORE_UNICODE_OK
        same(message, again)


def test_all_types() -> None:
    message = PropertyMessage()
    message[PR_SUBJECT] = "grüße"
    message[NamedProperty(PSETID_TASK, 0x8101, PT_LONG)] = -5
    for tag, value in {
        0x6600000B: True,
        0x66010005: 1.5,
        0x66020014: -(1 << 60),
        0x66030040: 1 << 60,
        0x66040048: UUID(int=7),
        0x66051003: (1, -2),
        0x66061102: (b"a", b""),
        0x6607101F: ("ä", ""),
        0x66081048: (UUID(int=1), UUID(int=2)),
        0x66091002: (1, 2, 3),
        0x660A0002: -3,
    }.items():
        message[tag] = value
    again = message_from_msg(message_to_msg(message))
    assert again is not None
    assert again.properties == message.properties


@settings(max_examples=150)
@given(st.binary(max_size=80), st.sampled_from(["__substg1.0_0037001F", "__substg1.0_1003101F", "__nameid_version1.0"]))
def test_arbitrary_streams(data: bytes, name: str) -> None:
    inner: bytes | dict[str, bytes] = data if name[2] == "s" else {"__substg1.0_00030102": data}
    message_from_msg(write_compound_file({"__properties_version1.0": bytes(32) + data, name: inner}))


def test_what_is_no_message() -> None:
    assert message_from_msg(write_compound_file({"a": b"b"})) is None
    assert message_from_msg(b"text") is None


def test_a_file_says_that_its_strings_are_unicode() -> None:
    message = PropertyMessage()
    message[PR_STORE_SUPPORT_MASK] = 0x8
    again = message_from_msg(message_to_msg(message))
    assert again is not None
    assert again[PR_STORE_SUPPORT_MASK] == 0x8 | STORE_UNICODE_OK
    del message[PR_STORE_SUPPORT_MASK]
    octets = message_to_msg(message)
    assert struct.pack("<III", PR_STORE_SUPPORT_MASK, 6, STORE_UNICODE_OK) in octets
    again = message_from_msg(octets)
    assert again is not None
    assert PR_STORE_SUPPORT_MASK not in again
