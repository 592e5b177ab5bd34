"""TLS from the first octet (RFC 8314 section 3): the handshake, before the front-end sees the connection.

asyncio's own listener would shake hands too, but nobody could stand before the handshake then: fault scripts do. And
a peer that never ends its handshake would not count as a connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

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
        self._stalled = False
        """There is to be no handshake: what comes is read, for the peer's EOF, and not kept."""
        self._gone = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._hello = b""
        """What came before TLS could read: with a PROXY header, and on uvloop, which reads in spite of a pause."""
        self.proxied_peer: tuple[str, int] | None = None
        """For whom a proxy speaks, as in `transport.Connection`, to which it is passed on."""
        self.proxied_header = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        name = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "local"
        address = self.proxied_peer or peer
        self._address = str(address[0]) if isinstance(address, tuple) else "local"
        if self._admission.arrived(self._address) is not None:  # before TLS nothing can be said
            self._admission.left(self._address)
            transport.abort()
            return
        waiting = self._before(name)
        self._stalled = waiting is not None
        if not self._stalled:
            transport.pause_reading()  # the client's hello is for TLS
        self._spawn(Actor("handshake", doing=name), self._shake(transport, waiting))

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._stalled:
            self._hello += data
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()

    async def _shake(self, raw: asyncio.Transport, waiting: Awaitable[None] | None) -> None:
        try:
            if waiting is not None:
                await self._stall(waiting)
                raw.abort()
                return
            early = _Early()
            transport = await self._start_tls(raw, early)
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

    async def _start_tls(self, raw: asyncio.Transport, early: _Early) -> asyncio.Transport | None:
        loop = asyncio.get_running_loop()
        shaking = asyncio.ensure_future(
            loop.start_tls(raw, early, self._context, server_side=True, ssl_handshake_timeout=self._seconds_max)
        )
        try:
            # start_tls runs up to its wait, and asks for two calls in the loop's next round: TLS is told of its
            # transport, and may read. What is there already comes behind these, and before anything is read
            await asyncio.sleep(0)
            if self._hello:
                loop.call_soon(self._give, raw.get_protocol())
            return await shaking
        finally:
            shaking.cancel()

    def _give(self, tls: Any) -> None:
        """Let TLS, a BufferedProtocol on every loop, have what came too early."""
        hello, self._hello = self._hello, b""
        while hello:
            room = tls.get_buffer(len(hello))
            part = hello[: len(room)]
            room[: len(part)] = part
            tls.buffer_updated(len(part))
            hello = hello[len(part) :]

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
