"""emulator/imail/mac.py and encoded_files.py: files in other clothes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.imail import inbound, outbound
from emulator.imail.attachments import MAC_INFO
from emulator.imail.mac import MacFile, read_apple, read_binhex, write_appledouble, write_binhex
from emulator.property_tags import PR_BODY
from protocols.mime import transfer

FILE = MacFile("naïve.txt", b"abc\x90\x90hello" * 30, b"res\x90\x00" * 9, b"TEXT", b"ttxt")


@settings(max_examples=100)
@given(st.binary(max_size=200), st.binary(max_size=100), st.text("aé ", min_size=1, max_size=30))
def test_binhex(data: bytes, resource: bytes, name: str) -> None:
    file = MacFile(name, data, resource, b"TEXT", b"ttxt")
    assert read_binhex(write_binhex(file)) == file


def test_runs() -> None:
    plain = write_binhex(MacFile("a", b"a" * 9, b"", b"TEXT", b"ttxt"))
    assert read_binhex(plain) == MacFile("a", b"a" * 9, b"", b"TEXT", b"ttxt")


def test_appledouble() -> None:
    found = read_apple(write_appledouble(FILE))
    assert found == MacFile(FILE.name, b"", FILE.resource, FILE.type, FILE.creator)


@settings(max_examples=150)
@given(st.binary(max_size=120), st.sampled_from([b"", b"\x00\x05\x16\x07\0\2\0\0" + bytes(16) + b"\0\2", b":"]))
def test_never_raises(octets: bytes, prefix: bytes) -> None:
    read_apple(prefix + octets)
    read_binhex(prefix + octets)


def test_hostile_binhex_ends(linear: Callable[[Callable[[int], object], int], None]) -> None:
    linear(lambda octets: read_binhex(b":" * octets), 50_000)
    linear(lambda octets: read_binhex(b"\n:" + b"$f*T" * (octets // 4), decoded_octets_max=1000), 50_000)


@pytest.mark.parametrize("kind", ["binhex", "appledouble"])
def test_in_messages(kind: str) -> None:
    if kind == "binhex":
        octets = (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
            b"Content-Type: application/mac-binhex40\r\n\r\n" + write_binhex(FILE) + b"\r\n--b--\r\n"
        )
    else:
        octets = (
            b"Content-Type: multipart/appledouble; boundary=b\r\n\r\n--b\r\nContent-Type: application/applefile\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n"
            + transfer.encode_base64(write_appledouble(FILE))
            + b"\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + transfer.encode_base64(FILE.data)
            + b"\r\n--b--\r\n"
        )
    message = inbound(octets)
    for _ in range(2):
        (attachment,) = message.attachments
        assert attachment.data == FILE.data
        assert attachment.name == FILE.name
        assert read_apple(attachment[MAC_INFO]) == MacFile(FILE.name, b"", FILE.resource, FILE.type, FILE.creator)
        message.forget_original()
        message = inbound(outbound(message))


def test_uuencoded_text() -> None:
    octets = b"Subject: files\r\n\r\nbefore\r\n" + transfer.encode_uuencoded(b"data" * 30, "a b.bin") + b"after\r\n"
    message = inbound(octets)
    assert message[PR_BODY] == "before\r\nafter\r\n"
    assert [(row.name, row.data) for row in message.attachments] == [("a b.bin", b"data" * 30)]
    assert outbound(message) is octets
    message.forget_original()
    again = inbound(outbound(message))
    assert again[PR_BODY] == "before\r\nafter\r\n"
    assert [(row.name, row.data) for row in again.attachments] == [("a b.bin", b"data" * 30)]


YENC = b"=ybegin line=128 size=3 name=y.bin\r\n\x8b\x8c\x8d\r\n=yend size=3\r\n"


def test_both_kinds_in_one_text() -> None:
    message = inbound(b"Subject: files\r\n\r\n" + transfer.encode_uuencoded(b"one", "u.bin") + b"between\r\n" + YENC)
    assert message[PR_BODY] == "between\r\n"
    assert [(row.name, row.data) for row in message.attachments] == [("u.bin", b"one"), ("y.bin", b"abc")]


def test_one_kind_inside_the_other_is_its_data() -> None:
    head, data, tail = YENC.splitlines(keepends=True)
    message = inbound(b"Subject: files\r\n\r\n" + head + transfer.encode_uuencoded(b"one", "u.bin") + data + tail)
    assert [row.name for row in message.attachments] == ["y.bin"]
