"""What the two voices say, and the peers' addresses."""

from __future__ import annotations

import pytest

from protocols.settings import FrontEndSettings
from protocols.smtp.personality import address_of, is_loopback, literal, multi_line, voice


@pytest.mark.parametrize(
    ("peer", "address", "loopback"),
    [
        ("127.0.0.1:25", "127.0.0.1", True),
        ("[::1]:25", "::1", True),
        ("192.0.2.1:25", "192.0.2.1", False),
        ("[2001:db8::1]:25", "2001:db8::1", False),
        ("local", "local", True),
    ],
)
def test_peers(peer: str, address: str, loopback: bool) -> None:
    assert address_of(peer) == address
    assert is_loopback(peer) is loopback


def test_literals() -> None:
    assert literal("192.0.2.1") == "[192.0.2.1]"
    assert literal("2001:db8::1") == "[IPv6:2001:db8::1]"


def test_lines_of_a_reply() -> None:
    assert multi_line(250, ["a"]) == b"250 a\r\n"
    assert multi_line(214, ["a", "b\u00e4", "c"]) == b"214-a\r\n214-b?\r\n214 c\r\n"


def test_voices() -> None:
    old = FrontEndSettings(hostname="h", personality="exchange55", build="5.5.2653.13")
    greeting = b"220 h ESMTP Server (Microsoft Exchange Internet Mail Service 5.5.2653.13) ready\r\n"
    assert voice(old).greeting(old) == greeting
    assert not voice(old).knows("CHUNKING")
    assert voice(FrontEndSettings()).knows("CHUNKING")
    assert voice(FrontEndSettings(personality="nobody")) is voice(FrontEndSettings())
