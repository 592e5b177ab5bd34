"""Connections through a load balancer, on real sockets."""

from __future__ import annotations

import asyncio
import ssl
import struct
from typing import Any

import pytest

from emulator import certificates, proxied
from emulator.server import Server
from protocols.ports import SessionOpened
from protocols.proxy import SIGNATURE

V1 = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 25\r\n"
V2 = (
    SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 12) + bytes([192, 0, 2, 7, 192, 0, 2, 8]) + struct.pack("!HH", 4711, 25)
)


@pytest.fixture
async def server(start_server: Any) -> Server:
    started: Server = await start_server(proxy_protocol=True)
    return started


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", ["smtp", "pop3", "imap", "nntp"])
async def test_the_peer_is_the_one_behind_the_proxy(server: Server, header: bytes, name: str) -> None:
    opened: list[str] = []
    server.bus.on(SessionOpened, lambda event: opened.append(event.peer))
    reader, writer = await asyncio.open_connection(*server.addresses[name])
    for octet in range(len(header)):
        writer.write(header[octet : octet + 1])
        await writer.drain()
    async with asyncio.timeout(10):
        assert await reader.readline()
    assert opened == ["192.0.2.7:4711"]
    writer.close()


async def test_who_is_no_proxy_is_cut_off(server: Server) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses["imap"])
    writer.write(b"a LOGIN alice secret\r\n")
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionError):
            raise ConnectionResetError if await reader.read() == b"" else AssertionError
    writer.close()


async def test_a_proxy_that_says_nothing_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxied, "HEADER_SECONDS_MAX", 0.02)
    reader, writer = await asyncio.open_connection(*server.addresses["imap"])
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionError):
            raise ConnectionResetError if await reader.read() == b"" else AssertionError
    writer.close()


async def test_who_sends_no_header_counts(start_server: Any) -> None:
    server = await start_server(proxy_protocol=True, connections_max=3)
    silent = [await asyncio.open_connection(*server.addresses["smtp"]) for _ in range(3)]
    async with asyncio.timeout(30):
        while server.admission.count < 3:
            await asyncio.sleep(0)
        reader, writer = await asyncio.open_connection(*server.addresses["smtp"])
        with pytest.raises(ConnectionError):
            raise ConnectionResetError if await reader.read() == b"" else AssertionError
        writer.close()
        silent.pop()[1].close()
        silent[0][1].write(V1)
        assert (await silent[0][0].readline()).startswith(b"220")
        while server.admission.count > 2:
            await asyncio.sleep(0)
    for _, each in silent:
        each.close()
    async with asyncio.timeout(30):
        while server.admission.count:
            await asyncio.sleep(0)


async def test_some_servers_only(start_server: Any) -> None:
    server = await start_server(proxy_protocol=True, proxy_protocol_servers=("smtp",))
    reader, writer = await asyncio.open_connection(*server.addresses["pop3"])
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"+OK")
    writer.close()


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_the_header_stands_before_the_handshake(header: bytes, at_once: bool, start_server: Any) -> None:
    server = await start_server(proxy_protocol=True, pop3s_port=0)
    opened: list[str] = []
    server.bus.on(SessionOpened, lambda event: opened.append(event.peer))
    context = certificates.authority(None).client_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    reader, writer = await asyncio.open_connection(*server.addresses["pop3s"])
    hello = outgoing.read()
    if at_once:  # header and the client's hello in one packet
        writer.write(header + hello)
    else:
        writer.write(header)
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(hello)
    greeting = b""
    async with asyncio.timeout(20):
        while not greeting:
            data = await reader.read(65536)
            assert data
            incoming.write(data)
            try:
                tls.do_handshake()
                greeting = tls.read()
            except ssl.SSLWantReadError:
                pass
            writer.write(outgoing.read())
    assert greeting.startswith(b"+OK")
    assert opened == ["192.0.2.7:4711"]
    writer.close()
