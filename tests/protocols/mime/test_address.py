"""protocols/mime/address.py"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mime.address import Address, format_mailbox, parse_addresses

END = Address(None, None, None, None)


def one(name: bytes | None, mailbox: bytes, host: bytes, route: bytes | None = None) -> list[Address]:
    return [Address(name, route, mailbox, host)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", []),
        (b" , ,", []),
        (b"a@b.c", one(None, b"a", b"b.c")),
        (b"<a@b>", one(None, b"a", b"b")),
        (b"<>", one(None, b"", b"")),
        (b"John Doe <a@b>", one(b"John Doe", b"a", b"b")),
        (b'"Doe, John" <a@b>', one(b"Doe, John", b"a", b"b")),
        (b'"q \\"uo\\" te" <a@b>', one(b'q "uo" te', b"a", b"b")),
        (b"a@b (John Doe)", one(b"John Doe", b"a", b"b")),
        (b"<a@b> (John Doe)", one(b"John Doe", b"a", b"b")),
        (b"John (nick (nested)) Doe <a@b>", one(b"John Doe", b"a", b"b")),
        (b"J. R. Doe <a@b>", one(b"J. R. Doe", b"a", b"b")),
        (b'"a b"@c', one(None, b"a b", b"c")),
        (b"a . b @ c . d", one(None, b"a.b", b"c.d")),
        (b"a@[127.0.0.1]", one(None, b"a", b"[127.0.0.1]")),
        (b"<@r1,@r2:a@b>", one(None, b"a", b"b", b"@r1,@r2")),
        (b"root", one(None, b"root", b"")),
        (b"<root>", one(None, b"root", b"")),
        (b"a@b@c", one(None, b"a@b", b"c")),
        (b"Foo a@b", one(b"Foo", b"a", b"b")),
        (b"Foo <a@b", one(b"Foo", b"a", b"b")),
        (b"Foo <a@b, c@d", [Address(b"Foo", None, b"a", b"b"), Address(None, None, b"c", b"d")]),
        (b'"Foo <a@b>, c@d', [Address(b"Foo", None, b"a", b"b"), Address(None, None, b"c", b"d")]),
        (b"=?utf-8?q?=C3=A9?= =?utf-8?q?x?= <a@b>", one(b"=?utf-8?q?=C3=A9?= =?utf-8?q?x?=", b"a", b"b")),
        (b"undisclosed-recipients:;", [Address(None, None, b"undisclosed-recipients", None), END]),
        (
            b"A Group:Chris <c@a>,joe@where.test;, z@z",
            [
                Address(None, None, b"A Group", None),
                Address(b"Chris", None, b"c", b"a"),
                Address(None, None, b"joe", b"where.test"),
                END,
                Address(None, None, b"z", b"z"),
            ],
        ),
        (b"g: a@b", [Address(None, None, b"g", None), Address(None, None, b"a", b"b"), END]),
        (b"mchiba (M,Chiba); ", one(b"M,Chiba", b"mchiba", b"")),
        (b"a@b; c@d", [Address(None, None, b"a", b"b"), Address(None, None, b"c", b"d")]),
    ],
)
def test_parse(value: bytes, expected: list[Address]) -> None:
    assert parse_addresses(value) == expected


def test_email() -> None:
    assert parse_addresses(b"a@b")[0].email == b"a@b"
    assert parse_addresses(b"a")[0].email == b"a"
    assert END.email == b""
    assert END.is_group_end
    assert parse_addresses(b"g:;")[0].is_group_start


@pytest.mark.parametrize(
    ("email", "expected"),
    [(b"a.b@c", b"a.b@c"), (b"a b@c", b'"a b"@c'), (b".a@c", b'".a"@c'), (b"x", b"x"), (b"", b"")],
)
def test_format_mailbox(email: bytes, expected: bytes) -> None:
    assert format_mailbox(email) == expected
    if expected:
        assert parse_addresses(b"<" + expected + b">")[0].email == email


@pytest.mark.parametrize(
    "unit", [b"(", b'"', b'\\"', b"[", b"<", b"a@", b":;", b",", b" ", b"<@", b"a ", b"(\\", b"@ "]
)
def test_hostile_values_take_linear_time(unit: bytes, linear: Callable[[Callable[[int], object], int], None]) -> None:
    linear(lambda octets: parse_addresses(unit * (octets // len(unit))), 40_000)


@settings(max_examples=300)
@given(st.text(alphabet='a.@<>,:;()[]"\\ \té', max_size=40).map(str.encode))
def test_never_raises(value: bytes) -> None:
    for address in parse_addresses(value):
        assert address.email is not None
    assert len(parse_addresses(value, addresses_max=2)) <= 4


NAMES = st.text(st.characters(codec="ascii", categories=["L", "N", "Zs", "P", "S"]), min_size=1, max_size=20)


@settings(max_examples=200)
@given(NAMES, st.from_regex(r"[a-z. ][a-z.\" ]{0,9}@[a-z]{1,5}\.[a-z]{2}", fullmatch=True))
def test_formatted_addresses_parse_to_the_same(name: str, email: str) -> None:
    quoted = b'"' + name.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    value = quoted + b" <" + format_mailbox(email.encode()) + b">"
    assert [(item.name, item.email) for item in parse_addresses(value)] == [(name.encode(), email.encode())]
