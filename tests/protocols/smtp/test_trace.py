"""The trace field, and what may not stand in a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.smtp.grammar import Refusal
from protocols.smtp.trace import check_hops, check_lines, date_time, received


@pytest.mark.parametrize(
    ("octets", "fine"),
    [
        (b"a\r\nb\r\n", True),
        (b"", True),
        (b"a\0b\r\n", True),
        (b"\0\r\n", True),
        (b"a\r\n\0.\r\n", False),
        (b"\0\0.\0\r\n", False),
        (b"a\n", False),
        (b"a\r", False),
        (b"\r\r\n", False),
        (b"\n\r\n", False),
        (b"\n\r", False),
    ],
)
def test_lines(octets: bytes, fine: bool) -> None:
    if fine:
        check_lines(octets, nul_refused=False)
    else:
        with pytest.raises(Refusal):
            check_lines(octets, nul_refused=False)


def test_any_nul_can_be_refused() -> None:
    check_lines(b"a\r\n", nul_refused=True)
    with pytest.raises(Refusal, match="NUL: send it by BDAT"):
        check_lines(b"a\0b\r\n", nul_refused=True)


def test_the_trace_field() -> None:
    assert date_time(0) == b"Thu, 1 Jan 1970 00:00:00 +0000"
    assert received(b"Received: from x", "ID1", "a@b", 0).endswith(
        b"id ID1\r\n\tfor <a@b>; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
    )
    assert b"for" not in received(b"Received: x", "ID1", "", 0)
    assert received(b"Received: x", "ID1", "a@b", 0, priority=-3).startswith(
        b"Received: x id ID1\r\n\tfor <a@b>\r\n\tPRIORITY -3; "  # RFC 6710 section 6
    )


@given(st.binary(max_size=200), st.integers(0, 20))
def test_hops_are_counted_in_the_header(body: bytes, hops: int) -> None:
    octets = b"Received: x\r\n" * hops + b"Subject: received: x\r\n\r\nReceived: x\r\n" + body
    check_hops(octets, hops)
    if hops:
        with pytest.raises(Refusal, match=f"{hops} Received fields"):
            check_hops(octets, hops - 1)
