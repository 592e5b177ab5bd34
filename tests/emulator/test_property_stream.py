"""emulator/property_stream.py"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.imail import inbound
from emulator.properties import Attachment, PropertyMessage, Recipient
from emulator.property_stream import StreamReader, decode_property, encode_property
from emulator.property_tags import PR_SUBJECT, PS_PUBLIC_STRINGS, Key, NamedProperty

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES: dict[int, st.SearchStrategy[Any]] = {
    0x0002: st.integers(-(1 << 15), (1 << 15) - 1),
    0x0003: st.integers(-(1 << 31), (1 << 31) - 1),
    0x0005: st.floats(allow_nan=False),
    0x000B: st.booleans(),
    0x0014: st.integers(-(1 << 63), (1 << 63) - 1),
    0x001F: TEXT,
    0x0040: st.integers(0, (1 << 64) - 1),
    0x0048: st.uuids(),
    0x0102: st.binary(max_size=20),
    0x101F: st.lists(TEXT, max_size=4).map(tuple),
    0x1003: st.lists(st.integers(-5, 5), max_size=4).map(tuple),
}
PAIRS = st.sampled_from(sorted(VALUES)).flatmap(
    lambda kind: st.tuples(
        st.one_of(
            st.integers(1, 0x7FFF).map(lambda number: number << 16 | kind),
            st.one_of(TEXT, st.integers(0, 1 << 31)).map(lambda name: NamedProperty(PS_PUBLIC_STRINGS, name, kind)),
        ),
        VALUES[kind],
    )
)


@settings(max_examples=200)
@given(PAIRS)
def test_a_property_is_read_as_written(pair: tuple[Key, Any]) -> None:
    encoded = encode_property(*pair, lambda _: 0x8000)
    reader = StreamReader(encoded)
    assert decode_property(reader) == pair
    assert reader.left == 0
    assert len(encoded) % 4 == 0


@settings(max_examples=100)
@given(st.lists(PAIRS, max_size=6), st.lists(PAIRS, max_size=3), st.booleans())
def test_messages(properties: list[tuple[Key, Any]], rows: list[tuple[Key, Any]], original: bool) -> None:
    message = inbound(b"Subject: x\r\nTo: a@b\r\n\r\nbody\r\n") if original else PropertyMessage()
    for key, value in properties:
        message[key] = value
    if rows:
        message.recipients.append(Recipient(dict(rows)))
        message.attachments.append(Attachment(dict(rows)))
        inner = PropertyMessage()
        inner[PR_SUBJECT] = "inner"
        message.attachments[0].embedded = inner
    again = PropertyMessage.from_bytes(message.to_bytes())
    assert again.properties == message.properties
    assert list(again.recipients) == list(message.recipients)
    assert list(again.attachments) == list(message.attachments)
    assert again.original == message.original
    assert again.modified == message.modified


@settings(max_examples=200)
@given(st.binary(max_size=120), st.sampled_from([b"", b"MJP1\1", b"MJP1\2", b"MJP1\3"]))
def test_damage_is_a_value_error(octets: bytes, prefix: bytes) -> None:
    try:
        PropertyMessage.from_bytes(prefix + octets)
    except ValueError:
        return


def test_a_cut_message_is_a_value_error() -> None:
    message = inbound(b"Subject: x\r\n\r\nbody\r\n")
    message[PR_SUBJECT] = "changed"
    packed = message.to_bytes()
    with pytest.raises(ValueError, match="octets"):
        PropertyMessage.from_bytes(packed[:-2])
