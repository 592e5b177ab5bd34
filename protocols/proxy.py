"""The PROXY protocol, versions 1 and 2, as HAProxy's proxy-protocol.txt describes them (sans-IO).

A load balancer says in front of the dialogue for whom it speaks. Only where it is expected: a server that takes the
header from anybody would let anybody choose its address.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""The first octets of version 2."""
V1_OCTETS_MAX = 107
"""proxy-protocol.txt section 2.1."""
V2_OCTETS_MAX = 4096
"""Addresses and TLVs of version 2; real headers are much shorter."""


class ProxyProblem(Exception):
    """The octets are no PROXY header: the connection has to be closed without a word."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """For whom the peer speaks."""

    octets: int
    """Length of the header."""
    version: int
    address: str = ""
    """The client's address; empty where the proxy speaks for itself (LOCAL) or does not know (UNKNOWN)."""
    port: int = 0


def parse(data: bytes | bytearray) -> ProxyHeader | None:
    """The header at the start of the octets that have arrived; None: it is not there whole. Raises ProxyProblem."""
    start = bytes(data[: len(SIGNATURE)])
    if start == SIGNATURE:
        return _version_2(bytes(data[: 16 + V2_OCTETS_MAX]))
    if b"PROXY "[: len(start)] == start[:6]:
        return _version_1(bytes(data[:V1_OCTETS_MAX]))
    if SIGNATURE.startswith(start):
        return None
    raise ProxyProblem("a PROXY header was expected")


def _version_1(data: bytes) -> ProxyHeader | None:
    line, end, _ = data.partition(b"\r\n")
    if not end:
        if len(data) >= V1_OCTETS_MAX:
            raise ProxyProblem("the PROXY line is too long")
        return None
    words = line.decode("latin-1").split(" ")
    octets = len(line) + 2
    if words[1:2] == ["UNKNOWN"]:
        return ProxyHeader(octets, 1)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ProxyProblem("the PROXY line is not well-formed")
    address = _address(words[2], 4 if words[1] == "TCP4" else 6)
    _address(words[3], 4 if words[1] == "TCP4" else 6)
    port, _ = _port(words[4]), _port(words[5])
    return ProxyHeader(octets, 1, address, port)


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ProxyProblem("an address is not well-formed") from None
    if address.version != version:
        raise ProxyProblem("an address is of the other family")
    return str(address)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536):
        raise ProxyProblem("a port is not well-formed")
    return int(text)


def _version_2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    version_command, family, length = struct.unpack_from("!BBH", data, 12)
    if version_command >> 4 != 2 or version_command & 15 > 1:
        raise ProxyProblem("version or command is not known")
    if length > V2_OCTETS_MAX:
        raise ProxyProblem("the PROXY header is too long")
    if len(data) < 16 + length:
        return None
    if version_command & 15 == 0:
        return ProxyHeader(16 + length, 2)
    width = {1: 4, 2: 16}.get(family >> 4, 0)
    if not width:
        return ProxyHeader(16 + length, 2)
    if length < 2 * width + 4:
        raise ProxyProblem("the addresses are cut short")
    address = ipaddress.ip_address(data[16 : 16 + width])
    (port,) = struct.unpack_from("!H", data, 16 + 2 * width)
    return ProxyHeader(16 + length, 2, str(address), port)
