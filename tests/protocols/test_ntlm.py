"""protocols/ntlm.py: the examples of RFC 1320 and of [MS-NLMP] section 4.2.4, and messages of any shape."""

from __future__ import annotations

import hmac
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import ntlm

NONCE = bytes.fromhex("0123456789abcdef")
INFO = b"".join(
    struct.pack("<HH", kind, len(name) * 2) + name.encode("utf-16-le") for kind, name in ((2, "Domain"), (1, "Server"))
) + bytes(4)
PROVED = b"\1\1" + bytes(6) + bytes(8) + b"\xaa" * 8 + bytes(4) + INFO + bytes(4)


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"a", "bde52cb31de33e46245e05fbdbd6fb24"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"message digest", "d9130a8164549fe818874806e1c7014b"),
        (b"abcdefghijklmnopqrstuvwxyz", "d79e1c308aa5bbcdeea8ed63df412da9"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4(text: bytes, digest: str) -> None:
    assert ntlm.md4(text).hex() == digest


def answer_message(user: str, domain: str, response: bytes) -> bytes:
    fields = [b"", response, domain.encode("utf-16-le"), user.encode("utf-16-le"), b"", b""]
    head, offset = b"", 64
    for field in fields:
        head += struct.pack("<HHI", len(field), len(field), offset)
        offset += len(field)
    return ntlm.SIGNATURE + struct.pack("<I", 3) + head + struct.pack("<I", 1) + b"".join(fields)


def test_the_example_of_ms_nlmp() -> None:
    assert ntlm.response_key("User", "Domain", "Password").hex() == "0c868a403bfd7a93a3001ef22ef02e3f"
    proof = bytes.fromhex("68cd0ab851e51c96aabc927bebef6a1c")
    answer = ntlm.read_answer(answer_message("User", "Domain", proof + PROVED))
    assert answer == ntlm.Answer("User", "Domain", proof + PROVED)
    assert ntlm.is_right(answer, NONCE, "Password")
    assert not ntlm.is_right(answer, NONCE, "password")
    assert not ntlm.is_right(answer, NONCE[::-1], "Password")
    assert not ntlm.is_right(ntlm.Answer("User", "Domain", proof + b"12345678"), NONCE, "Password")


def test_the_challenge() -> None:
    message = ntlm.challenge(NONCE, "mail.example.com")
    assert message[:12] == b"NTLMSSP\0\2\0\0\0"
    assert message[24:32] == NONCE
    length, _, offset = struct.unpack_from("<HHI", message, 40)
    assert offset + length == len(message)
    assert "MAIL".encode("utf-16-le") in message[offset:]
    assert "mail.example.com".encode("utf-16-le") in message[offset:]


@settings(max_examples=150)
@given(st.binary(max_size=120), st.binary(max_size=120), st.text(max_size=5))
def test_no_message_raises(head: bytes, rest: bytes, password: str) -> None:
    ntlm.is_negotiate(head)
    for message in (head + rest, ntlm.SIGNATURE + b"\3\0\0\0" + head + rest):
        answer = ntlm.read_answer(message)
        if answer is not None:
            key = ntlm.response_key(answer.user, answer.domain, password)
            forged = hmac.digest(key, NONCE + b"x" * 40, "md5") + b"x" * 40
            assert ntlm.is_right(ntlm.Answer(answer.user, answer.domain, forged), NONCE, password)
