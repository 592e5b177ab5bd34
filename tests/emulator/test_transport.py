"""The connection class, over real sockets with a session that echoes."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import pytest

from emulator.config import Settings, limits_with
from emulator.events import Bus
from emulator.scheduling import AsyncioClock, AsyncioScheduler
from emulator.transport import Connection, FrontEnd
from protocols.ports import Services, SessionClosed
from protocols.registry import Registry
from protocols.reply import Reply
from protocols.session import Session

commands: Registry[Any] = Registry()


class Echo(Session[Any]):
    protocol = "echo"
    commands = commands

    def greeting(self) -> Reply:
        self.state = "open"
        return b"hello\r\n"

    def next_input(self) -> bytes | None:
        return self.connection.buffer.line(1 << 22)

    async def handle_input(self, item: bytes) -> None:
        if item == b"DEFLATE":
            self.send(b"deflating\r\n")
            await self.flush()
            self.connection.start_compression()
        elif item.startswith(b"BIG"):
            for _ in range(int(item[3:])):
                self.send(b"x" * 9998 + b"\r\n")
                await self.flush_when_large()
        else:
            self.send(item + b"\r\n")

    def farewell(self, why: str) -> Reply:
        return f"bye: {why}\r\n".encode()


class Fixture:
    def __init__(self, settings: Settings) -> None:
        self.bus = Bus()
        self.closed: list[SessionClosed] = []
        self.bus.on(SessionClosed, self.closed.append)
        self.scheduler = AsyncioScheduler()
        clock = AsyncioClock()
        services = Services(*[None] * 4, clock, self.bus, settings.front_end)  # type: ignore[arg-type, list-item]
        self.front_end = FrontEnd(settings, clock, self.scheduler, lambda connection: Echo(connection, services))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not hasattr(self, "listener"):
            self.listener = await asyncio.get_running_loop().create_server(self.front_end.protocol, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*self.listener.sockets[0].getsockname())
        assert await reader.readline() == b"hello\r\n"
        return reader, writer

    def connection(self) -> Connection:
        (connection,) = self.front_end.connections
        return connection

    async def close(self, *writers: asyncio.StreamWriter) -> None:
        self.listener.close()
        await self.front_end.stop()
        for writer in writers:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass
        await self.listener.wait_closed()
        assert not self.scheduler.failures


async def test_lines_in_any_pieces() -> None:
    fixture = Fixture(Settings())
    reader, writer = await fixture.connect()
    for piece in (b"o", b"ne\r", b"\ntwo\r\nth", b"ree\r\n"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    assert [await reader.readline() for _ in range(3)] == [b"one\r\n", b"two\r\n", b"three\r\n"]
    await fixture.close(writer)


async def test_a_half_closed_peer_gets_its_answers() -> None:
    fixture = Fixture(Settings())
    reader, writer = await fixture.connect()
    writer.write(b"last words\r\n")
    writer.write_eof()
    assert await reader.read() == b"last words\r\n"
    await fixture.close(writer)
    assert fixture.closed[0].how == "peer closed"


async def test_a_peer_that_does_not_read_holds_up_only_itself() -> None:
    fixture = Fixture(Settings(send_buffer_bytes_max=65536))
    slow, slow_writer = await fixture.connect()
    slow_writer.write(b"BIG 4000\r\n")
    reader, writer = await fixture.connect()
    writer.write(b"quick\r\n")
    assert await reader.readline() == b"quick\r\n"
    waiting = [c for c in fixture.front_end.connections if c._writing_paused]
    assert len(waiting) == 1
    octets = 0
    while octets < 40_000_000:
        octets += len(await slow.read(1 << 20))
    await fixture.close(slow_writer, writer)


async def test_a_peer_that_never_reads_is_dropped() -> None:
    fixture = Fixture(limits_with(Settings(send_buffer_bytes_max=65536), send_seconds_max=0.1))
    _, writer = await fixture.connect()
    writer.write(b"BIG 4000\r\n")
    async with asyncio.timeout(10):
        while not fixture.closed:
            await asyncio.sleep(0.01)
    assert fixture.closed[0].how == "deadline"
    writer.transport.abort()
    for connection in tuple(fixture.front_end.connections):
        connection.abort()
    await fixture.close(writer)


async def test_input_is_bounded_while_the_session_is_busy() -> None:
    fixture = Fixture(Settings(receive_buffer_bytes_max=65536))
    _, writer = await fixture.connect()
    connection = fixture.connection()
    connection.data_received(b"x" * 100_000)
    assert connection._reading_paused
    writer.transport.abort()
    connection.abort()
    await fixture.close(writer)


async def test_deadlines() -> None:
    fixture = Fixture(limits_with(Settings(), unauthenticated_seconds_max=0.1))
    reader, writer = await fixture.connect()
    assert await reader.read() == b"bye: deadline\r\n"
    await fixture.close(writer)


async def test_deflate_in_both_directions() -> None:
    fixture = Fixture(Settings())
    reader, writer = await fixture.connect()
    writer.write(b"DEFLATE\r\n")
    assert await reader.readline() == b"deflating\r\n"
    deflate = zlib.compressobj(wbits=-15)
    inflate = zlib.decompressobj(wbits=-15)
    line = b"a" * 300_000 + b"\r\n"
    writer.write(deflate.compress(line) + deflate.flush(zlib.Z_SYNC_FLUSH))
    got = b""
    while len(got) < len(line):
        got += inflate.decompress(await reader.read(65536))
    assert got == line
    writer.write(b"this is not deflate at all")
    assert await reader.read() == b""
    await fixture.close(writer)


async def test_a_stopping_front_end_says_goodbye_and_refuses_newcomers() -> None:
    fixture = Fixture(Settings())
    reader, writer = await fixture.connect()
    await fixture.front_end.stop()
    assert await reader.read() == b"bye: shutdown\r\n"
    late, late_writer = await asyncio.open_connection(*fixture.listener.sockets[0].getsockname())
    assert await late.read() == b"bye: the service is stopping\r\n"
    await fixture.close(writer, late_writer)


@pytest.mark.parametrize("how", ["abort", "close"])
async def test_a_vanished_peer_leaves_nothing_behind(how: str) -> None:
    fixture = Fixture(Settings())
    _, writer = await fixture.connect()
    getattr(writer.transport, how)()
    async with asyncio.timeout(10):
        while fixture.front_end.connections or fixture.scheduler.tasks:
            await asyncio.sleep(0)
    await fixture.close(writer)
