"""Connections through a load balancer: the PROXY header is read before the front-end sees the connection.

With TLS from the first octet the header stands before the handshake, in the clear.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from protocols.proxy import ProxyProblem, parse

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

    def __init__(self, factory: Callable[[], Proxied], *, alone: bool = False) -> None:
        """`alone`: read nothing behind the header, for that belongs to TLS."""
        self._factory = factory
        self._alone = alone
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._octets_at_once = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._alone:
            # asyncio's selector transports read so much at once; others (of Windows) read more, and TLS then fails
            self._octets_at_once, transport.max_size = transport.max_size, 1  # type: ignore[attr-defined]
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
        if self._timer is not None:
            self._timer.cancel()
        if self._alone:
            self._transport.max_size = self._octets_at_once  # type: ignore[attr-defined]
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
        if self._timer is not None:
            self._timer.cancel()


def proxied(factory: Callable[[], Proxied], *, alone: bool = False) -> Callable[[], Prelude]:
    """A protocol factory for a listener behind a proxy; `alone` as in `Prelude`."""
    return lambda: Prelude(factory, alone=alone)
