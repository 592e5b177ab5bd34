"""Connections through a load balancer: the PROXY header is read before the front-end sees the connection.

With TLS from the first octet the header stands before the handshake, in the clear; what came with it is TLS's already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from protocols.proxy import ProxyProblem, parse

from .admission import Admission

HEADER_SECONDS_MAX = 10.0
"""How long a proxy may take for its header."""


class Proxied(Protocol):
    """A connection whose peer's address can come from a PROXY header."""

    proxied_peer: tuple[str, int] | None
    proxied_header: bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...


class Prelude(asyncio.Protocol):
    """Reads the header, then gives its transport to the connection that the front-end makes."""

    def __init__(self, factory: Callable[[], Proxied], admission: Admission) -> None:
        self._factory = factory
        self._admission = admission
        self._address = "local"
        self._counted = False
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._address = str(peer[0])
        self._counted = True
        if self._admission.arrived(self._address) is not None:  # whoever sends headers may read nothing yet
            self._leave()
            transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(HEADER_SECONDS_MAX, transport.abort)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._data += data
        try:
            header = parse(self._data)
        except ProxyProblem:  # nothing is said to who is no proxy
            self._transport.abort()
            return
        if header is None:
            return
        self._leave()  # the connection counts by itself, for the peer that the proxy speaks for
        connection = self._factory()
        connection.proxied_header = bytes(self._data[: header.octets])
        if header.address:
            connection.proxied_peer = (header.address, header.port)
        self._transport.set_protocol(connection)  # type: ignore[arg-type]  # asyncio asks for a nominal protocol
        connection.connection_made(self._transport)
        rest = bytes(self._data[header.octets :])
        if rest:
            connection.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._counted:
            self._counted = False
            self._admission.left(self._address)


def proxied(factory: Callable[[], Proxied], admission: Admission) -> Callable[[], Prelude]:
    """A protocol factory for a listener behind a proxy. Until its header is there a connection is the proxy's."""
    return lambda: Prelude(factory, admission)
