"""protocols/mime/headers.py"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mime.headers import HeaderBlock, unfold

OCTETS = (
    b"From garbage line\r\nSubject: one\r\n two\r\nSUBJECT : second\r\nTo:a@b\r\nX-Empty:\r\nnot a field\r\nLast: x"
)


def block(octets: bytes = OCTETS) -> HeaderBlock:
    return HeaderBlock(octets, 0, len(octets))


def test_get() -> None:
    headers = block()
    assert headers.get(b"subject") == b"one two"
    assert headers.get("Subject") == b"one two"
    assert headers.get_all("subject") == [b"one two", b"second"]
    assert headers.last("subject") == b"second"
    assert headers.get("x-empty") == b""
    assert headers.get("absent") is None
    assert headers.get_all("absent") == []
    assert "to" in headers
    assert b"" not in headers
    assert headers.names() == [b"subject", b"to", b"x-empty", b"last"]
    assert dict(headers)[b"To"] == b"a@b"


def test_exact_octets_of_fields() -> None:
    headers = block()
    assert headers.fields(["SUBJECT", b"last"]) == b"Subject: one\r\n two\r\nSUBJECT : second\r\nLast: x"
    assert headers.fields_not(["subject"]) == b"To:a@b\r\nX-Empty:\r\nLast: x"
    assert headers.fields([]) == b""


def test_first_garbage() -> None:
    assert block().first_garbage() == 0
    assert block(b"A: b\r\nc d\r\n").first_garbage() == 6
    assert block(b"A: b\r\n").first_garbage() == -1


def test_fields_limit_keeps_the_octets() -> None:
    octets = b"a: b\r\n" * 10
    headers = HeaderBlock(octets, 0, len(octets), fields_max=3)
    assert len(headers) == 4
    assert b"".join(b"".join(field) for field in headers.raw) == octets


def test_unfold() -> None:
    assert unfold(b" a\r\n b\n\tc\r\n") == b"a b\tc"


@settings(max_examples=200)
@given(st.text(alphabet="ab: \t\r\n\x00é", max_size=80).map(str.encode))
def test_nothing_is_lost(octets: bytes) -> None:
    headers = block(octets)
    assert b"".join(b"".join(field) for field in headers.raw) == octets
    for name, value in headers:
        assert value in headers.get_all(name)
        assert b"\n" not in value
