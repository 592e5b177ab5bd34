"""One asyncio connection class for POP3, IMAP4 and NNTP: octets in and out, back-pressure, deadlines, TLS, DEFLATE.

The session (protocols.session) is driven by one task and pulls: `more` waits for octets, `drain` for room. The peer's
EOF or reset never cancels that task, so a handler inside a critical section ends as it would have; it learns of the
loss when it next reads or writes. asyncio sets TCP_NODELAY on every stream socket.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from protocols.actor import Actor
from protocols.ports import Clock, ConnectionLost, DeadlinePassed, Handle
from protocols.reader import Buffer
from protocols.session import Session

from .config import Settings
from .scheduling import AsyncioScheduler
from .wakeup import Wakeup

INFLATE_STEP_OCTETS = 65536
TURN_SECONDS_MAX = 0.01
"""How long one connection is served without a pause, at the next occasion, while others may be waiting."""
READ_OCTETS_MAX = 65536
"""Octets of one read. asyncio's 256 KiB lie above malloc's threshold for mmap, which made each read cost 20 us more."""


class Tap(Protocol):
    """Sees the octets of a connection as the session does: behind TLS and DEFLATE. For transcripts."""

    def received(self, octets: bytes) -> None: ...
    def sent(self, octets: bytes) -> None: ...
    def closed(self) -> None: ...


class _Tee:
    """Two taps on one connection."""

    def __init__(self, first: Tap, second: Tap) -> None:
        self._first = first
        self._second = second

    def received(self, octets: bytes) -> None:
        self._first.received(octets)
        self._second.received(octets)

    def sent(self, octets: bytes) -> None:
        self._first.sent(octets)
        self._second.sent(octets)

    def closed(self) -> None:
        self._first.closed()
        self._second.closed()


class Filter(Protocol):
    """Stands between a session and its peer on the way out: for fault scripts."""

    @property
    def busy(self) -> bool:
        """Whether octets wait in it."""
        ...

    def write(self, octets: bytes) -> None:
        """Pass octets on to `Connection.emit`, now or later, changed or not."""
        ...

    def close_when_idle(self) -> None:
        """Close the connection (`Connection.close`) once nothing waits any more."""
        ...


class _Inflate:
    """DEFLATE in both directions (RFC 4978): bounded on the way in, flushed at each write on the way out."""

    def __init__(self) -> None:
        self._in = zlib.decompressobj(-zlib.MAX_WBITS)
        self._out = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)

    def inflate(self, octets: bytes) -> bytes:
        """At most INFLATE_STEP_OCTETS of what `octets` and earlier input hold. Raises zlib.error on garbage."""
        return self._in.decompress(self._in.unconsumed_tail + octets, INFLATE_STEP_OCTETS)

    @property
    def pending(self) -> bool:
        """Whether `inflate(b"")` may give more."""
        return bool(self._in.unconsumed_tail)

    def deflate(self, octets: bytes) -> bytes:
        return self._out.compress(octets) + self._out.flush(zlib.Z_SYNC_FLUSH)


class Connection(asyncio.Protocol):
    """One peer of a front-end. See `protocols.ports.Connection`, which this fulfils."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        tls_context: ssl.SSLContext | None = None,
        made: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self.buffer = Buffer(quirk_bare_lf=settings.front_end.quirk_bare_lf)
        self.peer = ""
        self.peer_address = ""
        self.octets_received = 0
        self.local = ""
        self.session: Session[Any] | None = None
        self.tap: Tap | None = None
        self.filter: Filter | None = None
        self.task: asyncio.Task[None] | None = None
        self._settings = settings
        self._clock = clock
        self._tls_context = tls_context
        self._made = made
        self._lost_callback = lost
        self.proxied_peer: tuple[str, int] | None = None
        """For whom a proxy speaks (emulator.proxied)."""
        self.proxied_header = b""
        """What the proxy said of itself."""
        self._loop = asyncio.get_running_loop()
        self._receive_bytes_max = settings.receive_buffer_bytes_max
        self._transport: asyncio.Transport | None = None
        self._waiter: Wakeup | None = None
        self._fresh = False
        self._eof = False
        self._lost = False
        self._reading_paused = False
        self._writing_paused = False
        self._deadline: float | None = None
        self._timer: Handle | None = None
        self._timer_at = 0.0
        self._inflate: _Inflate | None = None
        self._starting_tls = False
        self._output_closed = False
        self._turn_began = 0.0
        """When this connection last let others go first, in monotonic seconds."""

    def watch(self, tap: Tap) -> None:
        """Let one more tap see what is said."""
        self.tap = tap if self.tap is None else _Tee(self.tap, tap)

    # --- called by asyncio --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # not of that class on uvloop
        if self._starting_tls:
            return
        transport.set_write_buffer_limits(high=self._settings.send_buffer_bytes_max)
        if hasattr(transport, "max_size"):  # of asyncio's selector transports
            transport.max_size = READ_OCTETS_MAX
        peer = self.proxied_peer or transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer_address = str(peer[0])
            self.peer = f"[{peer[0]}]:{peer[1]}" if ":" in self.peer_address else f"{peer[0]}:{peer[1]}"
        else:
            self.peer = self.peer_address = "local"
        self._made(self)

    def data_received(self, data: bytes) -> None:
        # While TLS is being started plain octets do not get here (asyncio hands them to the TLS layer); what does is
        # the first command under TLS, which may come in one packet with the end of the handshake.
        self.octets_received += len(data)
        if self._inflate is not None:
            if not self._take_deflated(data):
                return
        else:
            if self.tap is not None:
                self.tap.received(data)
            self.buffer.feed(data)
        self._fresh = True
        if len(self.buffer) > self._receive_bytes_max:
            self._pause_reading()
        self._wake()

    def _take_deflated(self, data: bytes) -> bool:
        assert self._inflate is not None
        try:
            octets = self._inflate.inflate(data)
        except zlib.error:
            self.abort()
            return False
        if self.tap is not None:
            self.tap.received(octets)
        self.buffer.feed(octets)
        if self._inflate.pending:
            self._pause_reading()
        return True

    def eof_received(self) -> bool:
        self._eof = True
        self._wake()
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.tap is not None:
            self.tap.closed()
        self._lost_callback(self)
        self._wake()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake()

    # --- protocols.ports.Connection -----------------------------------------------------------------------------------

    @property
    def tls(self) -> bool:
        """Whether TLS is on now."""
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is not None

    @property
    def tls_available(self) -> bool:
        """Whether STARTTLS can be offered now."""
        return self._tls_context is not None and not self.tls and self._inflate is None

    @property
    def compressed(self) -> bool:
        """Whether DEFLATE is on now."""
        return self._inflate is not None

    def write(self, pieces: Sequence[bytes]) -> None:
        """Send the pieces in one write."""
        if self._lost or self._transport is None or not pieces:
            return
        octets = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self.filter is None:
            self.emit(octets)
        else:
            self.filter.write(octets)

    def emit(self, octets: bytes) -> None:
        """Send octets past any filter; nowhere, once our direction is closed."""
        if self._lost or self._transport is None or self._output_closed:
            return
        if self.tap is not None:
            self.tap.sent(octets)
        if self._inflate is not None:
            octets = self._inflate.deflate(octets)
        self._transport.write(octets)

    async def drain(self) -> None:
        """Raises ConnectionLost, and DeadlinePassed for a peer that does not read. Now and then others go first."""
        if self._clock.monotonic() - self._turn_began > TURN_SECONDS_MAX:
            await self._give_way()
        if self._lost:
            raise ConnectionLost
        while self._writing_paused:
            await self._wait(self._settings.front_end.limits.send_seconds_max)
            if self._lost:
                raise ConnectionLost

    async def more(self, seconds_max: float | None) -> bool:
        """See protocols.ports.Connection."""
        if self._inflate is not None and self._inflate.pending:
            if self._clock.monotonic() - self._turn_began > TURN_SECONDS_MAX:
                await self._give_way()
            if self._lost:
                raise ConnectionLost
            self._take_deflated(b"")
            self._fresh = False
            return True
        if self._reading_paused and not self._lost and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        if not self._fresh:
            if self._eof:
                return False
            if self._lost:
                raise ConnectionLost
            await self._wait(seconds_max)
            if not self._fresh and (self._eof or self._lost):
                return False
        self._fresh = False
        return True

    def poke(self) -> None:
        """Make `more` return."""
        self._fresh = True
        self._wake()

    async def start_tls(self) -> None:
        """Become the server side of TLS. Raises ConnectionLost when the handshake fails or takes too long."""
        assert self._transport is not None
        assert self._tls_context is not None
        self._starting_tls = True
        self.buffer.clear()
        self._fresh = False
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                self._tls_context,
                server_side=True,
                ssl_handshake_timeout=self._settings.tls_handshake_seconds_max,
            )
        except (OSError, ssl.SSLError) as error:
            # asyncio tells of the end of a handshake that took too long by this alone
            self.connection_lost(error)
            raise ConnectionLost from error
        finally:
            self._starting_tls = False
        if transport is None:  # closed while shaking hands
            self.connection_lost(None)
            raise ConnectionLost
        self._transport = transport
        transport.set_write_buffer_limits(high=self._settings.send_buffer_bytes_max)

    def start_compression(self) -> None:
        """See protocols.ports.Connection."""
        rest = self.buffer.take_all()
        self._inflate = _Inflate()
        if rest:
            self._take_deflated(rest)
            self._fresh = True

    def channel_binding(self, kind: str) -> bytes | None:
        """`tls-server-end-point` (RFC 5929) and, where Python can, `tls-exporter` (RFC 9266)."""
        if self._transport is None:
            return None
        tls = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return None
        if kind == "tls-exporter":
            export = getattr(tls, "export_keying_material", None)
            return export(b"EXPORTER-Channel-Binding", 32, b"") if export is not None else None
        if kind == "tls-server-end-point":
            found: bytes | None = getattr(tls.context, "mailjam_end_point", None)
            return found
        return None

    def close(self) -> None:
        """Send what was written, then close."""
        if self.filter is not None and self.filter.busy:
            self.filter.close_when_idle()
        elif self._transport is not None and not self._lost:
            self._transport.close()
            if self._writing_paused:  # a peer that does not read would keep the connection for ever
                self._clock.call_later(self._settings.front_end.limits.send_seconds_max, self.abort)

    def write_eof(self) -> None:
        """Close our direction only; the peer may go on sending. Without effect under TLS, which cannot do it."""
        if self._transport is not None and self._transport.can_write_eof() and not self._transport.is_closing():
            self._output_closed = True
            self._transport.write_eof()

    def reset(self) -> None:
        """Break the connection with a TCP reset: what was written may be lost, the peer gets an error."""
        if self._transport is None:
            return
        peer = self._transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def abort(self) -> None:
        """Close now; what was written may be lost."""
        if self._transport is not None:
            self._transport.abort()

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    async def _give_way(self) -> None:
        """Let the other connections have their turn, when this one never had to wait for its peer for some time.

        Thousands of commands can be there at once: in one packet, when they are compressed.
        """
        await asyncio.sleep(0)
        self._turn_began = self._clock.monotonic()

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.wake()

    async def _wait(self, seconds_max: float | None) -> None:
        """Until `_wake`. One timer serves all waits of a connection: it is moved only when it fires too early."""
        assert self._waiter is None, "a connection is waited on by one task"
        self._waiter = waiter = Wakeup(self._loop)
        if seconds_max is None:
            self._deadline = None
        else:
            self._deadline = deadline = self._clock.monotonic() + seconds_max
            if self._timer is None or deadline < self._timer_at:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._clock.call_later(seconds_max, self._deadline_reached)
                self._timer_at = deadline
        try:
            await waiter
        finally:
            self._waiter = None
            self._deadline = None
            self._turn_began = self._clock.monotonic()

    def _deadline_reached(self) -> None:
        self._timer = None
        if self._deadline is None or self._waiter is None or self._waiter.done():
            return
        left = self._deadline - self._clock.monotonic()
        if left > 0.001:
            self._timer = self._clock.call_later(left, self._deadline_reached)
            self._timer_at = self._deadline
            return
        self._waiter.fail(DeadlinePassed())


class FrontEnd:
    """A listening protocol: makes a session for each peer, counts them, ends them."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        scheduler: AsyncioScheduler,
        session_class: Callable[[Connection], Session[Any]],
        *,
        tls_context: ssl.SSLContext | None = None,
        connection_class: Callable[..., Connection] = Connection,
        admit: Callable[[Connection], str | None] = lambda connection: None,
        dismiss: Callable[[Connection], None] = lambda connection: None,
        tap: Callable[[Connection, Session[Any]], Tap] | None = None,
    ) -> None:
        """`tap`: makes a transcript of each session."""
        self._settings = settings
        self._clock = clock
        self._scheduler = scheduler
        self._session_class = session_class
        self._tls_context = tls_context
        self._connection_class = connection_class
        self._admit = admit
        self._dismiss = dismiss
        self._tap = tap
        self.connections: set[Connection] = set()
        self.closing = False

    def offer_no_tls(self) -> None:
        """From the next connection on there is no STARTTLS."""
        self._tls_context = None

    def protocol(self) -> Connection:
        """The factory for `loop.create_server`."""
        return self._connection_class(
            self._settings, self._clock, tls_context=self._tls_context, made=self._made, lost=self._connection_lost
        )

    def _made(self, connection: Connection) -> None:
        self.connections.add(connection)
        session = self._session_class(connection)
        if self._tap is not None:
            connection.watch(self._tap(connection, session))
        refusal = self._admit(connection) or ("the service is stopping" if self.closing else None)
        if refusal is not None:
            connection.write([piece for piece in _pieces(session.farewell(refusal)) if piece])
            connection.close()
            return
        connection.session = session
        connection.task = self._scheduler.spawn(session.actor, self._drive(connection, session))

    async def _drive(self, connection: Connection, session: Session[Any]) -> None:
        try:
            await session.run()
        except BaseException:
            connection.abort()
            raise

    def _connection_lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._dismiss(connection)

    async def stop(self) -> None:
        """Refuse new peers, let each session say goodbye where it stands between commands, wait until all ended.

        A session that is inside a command ends after it: if that never happens, neither does this.
        """
        self.closing = True
        tasks = []
        for connection in tuple(self.connections):
            if connection.session is not None and connection.task is not None:
                connection.session.request_shutdown()
                tasks.append(connection.task)
        if tasks:
            await asyncio.wait(tasks)

    def actors(self) -> list[Actor]:
        """The sessions that are open now."""
        return [connection.session.actor for connection in self.connections if connection.session is not None]


def _pieces(reply: bytes | tuple[bytes, ...]) -> tuple[bytes, ...]:
    return (reply,) if isinstance(reply, bytes) else reply
