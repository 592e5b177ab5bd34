"""Messages that the conversion of some builds cannot stomach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.poison import TRIGGERS, corrupt_encapsulation, signed
from protocols.mime import parse

HEAD = b"From: a@example.com\r\nMIME-Version: 1.0\r\n"
MULTIPART = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n"
NAMED = b"--b\r\nContent-Type: text/plain; name*=utf-8''%s\r\n\r\nx\r\n"


@pytest.mark.parametrize(
    ("trigger", "poison", "harmless"),
    [
        ("unterminated multipart", MULTIPART, MULTIPART + b"--b--\r\n"),
        (
            "uuencode without end",
            HEAD + b"\r\nbegin 644 x\r\nM5&\r\n",
            HEAD + b"\r\nbegin 644 x\r\nM5&\r\n`\r\nend\r\n",
        ),
        (
            "same double-byte name",
            MULTIPART + NAMED % b"%E6%96%87" * 2 + b"--b--\r\n",
            MULTIPART + NAMED % b"%E6%96%87" + NAMED % b"%E6%97%A5" + b"--b--\r\n",
        ),
        (
            "subject beyond 20 KB",
            b"Subject: " + b"x" * 20_481 + b"\r\n\r\n",
            b"Subject: " + b"x" * 20_480 + b"\r\n\r\n",
        ),
        (
            "binhex",
            b"Content-Type: application/mac-binhex40\r\n\r\n",
            b"Content-Type: application/octet-stream\r\n\r\n",
        ),
        ("postscript", b"Content-Type: application/postscript\r\n\r\n", b"Content-Type: application/pdf\r\n\r\n"),
        ("blank charset", HEAD + b'Content-Type: text/plain; charset = ""\r\n\r\n', HEAD + b"\r\n"),
        ("comma in an address comment", b"Cc: mchiba (M,Chiba); \r\n\r\n", b"Cc: mchiba (M Chiba); \r\n\r\n"),
    ],
)
def test_triggers(trigger: str, poison: bytes, harmless: bytes) -> None:
    assert TRIGGERS[trigger](poison, parse(poison))
    assert not TRIGGERS[trigger](harmless, parse(harmless))


@given(st.binary(max_size=300))
def test_triggers_never_raise(octets: bytes) -> None:
    part = parse(octets)
    for test in TRIGGERS.values():
        assert test(octets, part) in (True, False)


@pytest.mark.parametrize(
    ("address", "corrupt"),
    [
        ("IMCEAEX-_O=ORG_OU=SITE_CN=ALICE+2@example.com", True),
        ("IMCEAEX-_O=ORG_OU=SITE_CN=ALICE+20B@example.com", False),
        ("alice+2@example.com", False),
        ("alice", False),
        ("", False),
    ],
)
def test_encapsulated_addresses(address: str, corrupt: bool) -> None:
    assert corrupt_encapsulation(address) is corrupt


def test_signed_counters() -> None:
    assert signed(32_767, 16) == 32_767
    assert signed(32_768, 16) == -32_768
    assert signed(40_000, 64) == 40_000
