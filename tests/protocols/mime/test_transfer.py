"""protocols/mime/transfer.py"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mime import transfer


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"aGVsbG8=", b"hello"),
        (b"aGVs\r\nbG8=\r\n", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"aGVsbG8==", b"hello"),
        (b"aGVsb", b"hel"),
        (b"a-G.V!s bG8=", b"hello"),
        (b"aGVsbG8=aGVsbG8=", b"hellohello"),
        (b"====", b""),
        (b"", b""),
        (b"\xff\x00", b""),
    ],
)
def test_base64(octets: bytes, expected: bytes) -> None:
    assert transfer.decode_base64(octets) == expected


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"a=3Db", b"a=b"),
        (b"a=\r\nb", b"ab"),
        (b"a=  \r\nb", b"ab"),
        (b"a=\nb", b"ab"),
        (b"a  \r\nb \t\n", b"a\r\nb\n"),
        (b"a=20\r\n", b"a \r\n"),
        (b"a=zz", b"a=zz"),
        (b"a=", b"a"),
        (b"=c3=a9", "é".encode()),
        (b"a_b", b"a_b"),
    ],
)
def test_quoted_printable(octets: bytes, expected: bytes) -> None:
    assert transfer.decode_quoted_printable(octets) == expected


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_encoders_are_undone(octets: bytes) -> None:
    encoded = transfer.encode_base64(octets)
    assert encoded == base64.encodebytes(octets).replace(b"\n", b"\r\n")[: len(encoded)] or len(octets) > 57
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    assert transfer.decode(encoded, "base64") == octets
    encoded = transfer.encode_quoted_printable(octets, text=False)
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    assert transfer.decode(encoded, "Quoted-Printable") == octets
    encoded = transfer.encode_uuencoded(octets, "a b")
    if octets:
        (file,) = transfer.find_uuencoded(b"before\r\n" + encoded + b"after")
        assert file.name == b"a b"
        assert transfer.decode_uuencoded(b"before\r\n" + encoded, file) == octets
        assert transfer.decode(encoded, "x-uuencode") == octets


@settings(max_examples=200)
@given(st.text(alphabet="aé= \t.\n", max_size=200).map(lambda text: text.replace("\n", "\r\n").encode()))
def test_quoted_printable_text(octets: bytes) -> None:
    encoded = transfer.encode_quoted_printable(octets)
    assert all(len(line) <= 76 and b"\n" not in line and b"\r" not in line for line in encoded.split(b"\r\n"))
    assert transfer.decode_quoted_printable(encoded) == octets


def test_uuencoded_in_text() -> None:
    body = b"text\nbegin 644 not a file\nmore\nbegin 755 x.bin\n#86)C\n`\nend\nrest\nbegin 600 cut.bin\n#86)C\n"
    first, second = transfer.find_uuencoded(body)
    assert body[first.start : first.end] == b"begin 755 x.bin\n#86)C\n`\nend\n"
    assert transfer.decode_uuencoded(body, first) == b"abc"
    assert (second.name, transfer.decode_uuencoded(body, second)) == (b"cut.bin", b"abc")
    assert second.end == len(body)


def yenc(data: bytes, name: str = "a b.bin") -> bytes:
    encoded = b"".join(
        bytes((octet,)) if octet not in (0, 10, 13, 61) else bytes((61, (octet + 64) & 255))
        for octet in ((value + 42) & 255 for value in data)
    )
    lines = []
    while encoded:
        cut = 128 if encoded[127:128] != b"=" else 129
        lines.append(encoded[:cut])
        encoded = encoded[cut:]
    crc = f"{binascii.crc32(data):08x}"
    return (
        f"=ybegin line=128 size={len(data)} name={name}\r\n".encode()
        + b"".join(line + b"\r\n" for line in lines)
        + f"=yend size={len(data)} crc32={crc}\r\n".encode()
    )


@settings(max_examples=100)
@given(st.binary(max_size=600))
def test_yenc(data: bytes) -> None:
    body = b"hello\r\n" + yenc(data) + b"bye\r\n"
    (file,) = transfer.find_yenc(body)
    assert (file.name, file.size) == (b"a b.bin", len(data))
    assert transfer.decode_yenc(body, file) == data
    assert transfer.yenc_checks(body, file, data)
    assert not transfer.yenc_checks(body, file, data + b"x")
    assert body[file.end :] == b"bye\r\n"


@settings(max_examples=200)
@given(
    st.binary(max_size=200),
    st.sampled_from(["base64", "quoted-printable", "x-uuencode", "x-yenc", "7bit", "nonsense"]),
    st.sampled_from([b"", b"begin 644 a\n", b"=ybegin line=1 size=1 name=a\n", b"=ypart begin=1\n"]),
)
def test_never_raises(octets: bytes, encoding: str, prefix: bytes) -> None:
    transfer.decode(prefix + octets, encoding)


@pytest.mark.parametrize(
    ("encoding", "unit"),
    [
        ("base64", b"="),
        ("base64", b"a="),
        ("quoted-printable", b"="),
        ("quoted-printable", b" "),
        ("quoted-printable", b" \n"),
        ("quoted-printable", b"=\r"),
        ("x-uuencode", b"begin 644 a\n"),
        ("x-uuencode", b"begin 644 a\n#86)C\n"),
        ("x-uuencode", b"M"),
        ("x-uuencode", b"`\n"),
        ("x-yenc", b"=ybegin a\n"),
        ("x-yenc", b"=ybegin a\n=\n"),
    ],
)
def test_hostile_bodies_take_linear_time(
    encoding: str, unit: bytes, linear: Callable[[Callable[[int], object], int], None]
) -> None:
    linear(lambda octets: transfer.decode(unit * (octets // len(unit)), encoding), 100_000)
