"""XCLIENT's attributes."""

from __future__ import annotations

import pytest

from protocols.smtp.grammar import Refusal
from protocols.smtp.xclient import parse


def test_attributes() -> None:
    found = parse(b"name=spike.example ADDR=IPV6:2001:db8::1 PORT=25 LOGIN=a+40b HELO=[UNAVAILABLE]")
    assert found == {"NAME": "spike.example", "ADDR": "2001:db8::1", "PORT": "25", "LOGIN": "a@b", "HELO": ""}


@pytest.mark.parametrize(
    "text", [b"", b"NAME", b"COLOUR=red", b"NAME=a b", b"ADDR=300.1.1.1", b"PORT=70000", b"NAME=a+0D+0Ab", b"LOGIN=+zz"]
)
def test_what_is_refused(text: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        parse(text)
    assert refusal.value.code == 501
