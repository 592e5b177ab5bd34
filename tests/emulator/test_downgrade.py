from __future__ import annotations

import email
import email.policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.downgrade import EIGHT_BIT, SEVEN_BIT, CannotDowngrade, downgrade, is_lines


def contents(octets: bytes) -> list[tuple[str, bytes | None]]:
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    return [(part.get_content_type(), part.get_payload(decode=True)) for part in message.walk()]  # type: ignore[misc]


def leaf(kind: str, body: bytes, *fields: str) -> bytes:
    head = "".join(f"{field}\r\n" for field in (f"Content-Type: {kind}", *fields))
    return head.encode() + b"\r\n" + body


def multipart(*parts: bytes, encoding: str = "binary") -> bytes:
    head = (
        f"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: {encoding}\r\n"
    )
    return head.encode() + b"\r\n" + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


UTF8 = "grüße\r\n".encode()
PARTS = multipart(
    leaf("text/plain; charset=utf-8", UTF8, "Content-Transfer-Encoding: 8bit"),
    leaf("application/octet-stream", bytes(range(256)), "Content-Transfer-Encoding: binary"),
    leaf("text/plain", b"plain\r\n"),
    leaf("message/rfc822", b"Subject: inner\r\n" + leaf("text/plain; charset=utf-8", UTF8)),
    leaf("image/png", b"AAEC", "Content-Transfer-Encoding: base64"),
)


@pytest.mark.parametrize("to", [SEVEN_BIT, EIGHT_BIT])
def test_every_part_keeps_its_content(to: str) -> None:
    found = downgrade(PARTS, to)
    assert is_lines(found)
    assert found.isascii() is (to == SEVEN_BIT)
    assert b"binary" not in found
    assert contents(found)[:4] == contents(PARTS)[:4]
    assert ("image/png", b"\x00\x01\x02") in contents(found)
    assert found.count("grüße".encode()) == (0 if to == SEVEN_BIT else 2)
    assert downgrade(found, to) == found


def test_what_fits_is_not_touched() -> None:
    octets = multipart(leaf("text/plain", b"plain\r\n"), leaf("multipart/mixed; boundary=none", b"x"), encoding="7bit")
    assert downgrade(octets, SEVEN_BIT) == octets


def test_a_text_without_last_line_end() -> None:
    octets = leaf("text/plain; charset=utf-8", "ü".encode())
    found = downgrade(octets, SEVEN_BIT)
    assert found == (
        b"Content-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC=\r\n"
    )
    assert contents(found)[0][1] == "ü".encode()


def test_long_lines_are_broken() -> None:
    octets = leaf("text/plain", b"x" * 5000 + b"\r\n")
    assert contents(downgrade(octets, EIGHT_BIT)) == contents(octets)


def test_foreign_octets_between_parts() -> None:
    octets = PARTS.replace(b"\r\n--b--", b"\r\n--b--\r\n\xff epilogue", 1)
    assert b"? epilogue" in downgrade(octets, SEVEN_BIT)


@pytest.mark.parametrize(
    "octets",
    [
        b"Subject: x\n\nbare\n",
        leaf("multipart/mixed", b"no boundary \xff\0\r\n"),
        leaf("message/partial", b"\0\r\n"),
        leaf("image/png", b"\0", "Content-Transfer-Encoding: base64"),
        b"Subject: \0\r\n\r\nx\r\n",
    ],
)
def test_what_cannot_be_encoded(octets: bytes) -> None:
    with pytest.raises(CannotDowngrade):
        downgrade(octets, SEVEN_BIT)


@given(
    st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.sampled_from([SEVEN_BIT, EIGHT_BIT]), st.booleans()
)
@settings(max_examples=60)
def test_any_content_survives(bodies: list[bytes], to: str, texts: bool) -> None:
    kind: Any = "text/plain; charset=latin-1" if texts else "application/octet-stream"
    octets = multipart(*(leaf(kind, b"".join((b"x", body, b"x"))) for body in bodies if b"--b" not in body))
    found = downgrade(octets, to)
    assert is_lines(found)
    assert [body for _, body in contents(found)[1:]] == [b"x" + body + b"x" for body in bodies if b"--b" not in body]


@given(st.binary(max_size=500))
@settings(max_examples=100)
def test_it_gives_lines_or_says_no(octets: bytes) -> None:
    try:
        assert is_lines(downgrade(octets, SEVEN_BIT))
    except CannotDowngrade:
        pass
