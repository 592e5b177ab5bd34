"""PROXY headers of both versions, whole, in pieces, damaged."""

from __future__ import annotations

import contextlib
import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.proxy import SIGNATURE, ProxyHeader, ProxyProblem, parse


def version_2(source: str, port: int, command: int = 1, more: bytes = b"") -> bytes:
    address = ipaddress.ip_address(source)
    family = 0x11 if address.version == 4 else 0x21
    body = address.packed * 2 + struct.pack("!HH", port, 25) + more
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(body)) + body


@pytest.mark.parametrize(
    ("octets", "address", "port"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 25\r\n", "192.0.2.1", 56324),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "2001:db8::1", 1),
        (b"PROXY UNKNOWN\r\n", "", 0),
        (b"PROXY UNKNOWN whatever it says\r\n", "", 0),
        (version_2("192.0.2.1", 4711), "192.0.2.1", 4711),
        (version_2("2001:db8::1", 4711, more=b"\x04\x00\x01\x00"), "2001:db8::1", 4711),
        (version_2("192.0.2.1", 4711, command=0), "", 0),
        (SIGNATURE + b"\x21\x00\x00\x00", "", 0),
    ],
)
def test_headers(octets: bytes, address: str, port: int) -> None:
    found = parse(octets + b"EHLO x\r\n")
    assert isinstance(found, ProxyHeader)
    assert (found.octets, found.address, found.port) == (len(octets), address, port)
    for end in range(len(octets)):
        assert parse(octets[:end]) is None


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO x\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 " + b"1" * 100,
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_what_is_no_header(octets: bytes) -> None:
    with pytest.raises(ProxyProblem):
        parse(octets)


@given(st.binary(max_size=150) | st.binary(max_size=60).map(lambda rest: SIGNATURE + rest))
def test_nothing_else_is_raised(octets: bytes) -> None:
    with contextlib.suppress(ProxyProblem):
        parse(octets)
