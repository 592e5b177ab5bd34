"""TLS from the first octet (RFC 8314 section 3): the handshake, before the front-end sees the connection.

asyncio's own listener would shake hands too, but nobody could stand before the handshake then: fault scripts do. And
a peer that never ends its handshake would not count as a connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from protocols.actor import Actor

from .admission import Admission

Before = Callable[[str], Awaitable[None] | None]
"""Called with the peer before each handshake: what it returns is awaited, and then there is none."""
Spawn = Callable[[Actor, Coroutine[Any, Any, None]], Any]


class _Early(asyncio.Protocol):
    """Keeps what comes between the end of the handshake and the moment in which the connection is told of it."""

    def __init__(self) -> None:
        self.data = b""
        self.eof = False
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Handshake(asyncio.Protocol):
    """Shakes hands, then gives its transport to the connection that the front-end makes."""

    def __init__(
        self,
        factory: Callable[[], Any],
        context: ssl.SSLContext,
        seconds_max: float,
        spawn: Spawn,
        before: Before,
        admission: Admission,
    ) -> None:
        self._factory = factory
        self._context = context
        self._seconds_max = seconds_max
        self._spawn = spawn
        self._before = before
        self._admission = admission
        self._address = "local"
        self._gone = asyncio.Event()
        self.proxied_peer: tuple[str, int] | None = None
        """For whom a proxy speaks, as in `transport.Connection`, to which it is passed on."""
        self.proxied_header = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        peer = transport.get_extra_info("peername")
        name = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "local"
        address = self.proxied_peer or peer
        self._address = str(address[0]) if isinstance(address, tuple) else "local"
        if self._admission.arrived(self._address) is not None:  # before TLS nothing can be said
            self._admission.left(self._address)
            transport.abort()
            return
        waiting = self._before(name)
        if waiting is None:
            transport.pause_reading()  # the client's hello is for TLS
        self._spawn(Actor("handshake", doing=name), self._shake(transport, waiting))

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()

    async def _shake(self, raw: asyncio.Transport, waiting: Awaitable[None] | None) -> None:
        try:
            if waiting is not None:
                await self._stall(waiting)
                raw.abort()
                return
            early = _Early()
            transport = await asyncio.get_running_loop().start_tls(
                raw, early, self._context, server_side=True, ssl_handshake_timeout=self._seconds_max
            )
        except (OSError, ssl.SSLError):  # the peer's affair: it is gone
            raw.abort()
            return
        except BaseException:
            raw.abort()
            raise
        finally:
            self._admission.left(self._address)  # the connection, if there is to be one, counts by itself
        if transport is None or early.lost:
            return
        connection = self._factory()
        connection.proxied_peer, connection.proxied_header = self.proxied_peer, self.proxied_header
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if early.data:
            connection.data_received(early.data)
        if early.eof:
            connection.eof_received()

    async def _stall(self, waiting: Awaitable[None]) -> None:
        """Until somebody lets go, or the peer gives up."""
        held, gone = asyncio.ensure_future(waiting), asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait((held, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            held.cancel()
            gone.cancel()
            await asyncio.gather(held, gone, return_exceptions=True)


def implicit_tls(
    factory: Callable[[], Any],
    context: ssl.SSLContext,
    seconds_max: float,
    spawn: Spawn,
    before: Before,
    admission: Admission,
) -> Callable[[], Handshake]:
    """A protocol factory for a listener on which TLS begins at once; `seconds_max` for the handshake."""
    return lambda: Handshake(factory, context, seconds_max, spawn, before, admission)
