"""A peer that does not come to the end of its request, and too many of them."""

from __future__ import annotations

import asyncio
import contextlib

from harness.http.app import serve_http

REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_the_head_of_a_request_has_a_deadline(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(http_request_seconds_max=0.2)
    running = await serve_http(server, "127.0.0.1", 0)
    async with asyncio.timeout(30):
        for whole, begun in ((b"", b""), (b"", REQUEST[:9]), (REQUEST, REQUEST[:9])):
            reader, writer = await asyncio.open_connection(*running.address)
            writer.write(whole)
            if whole:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.write(begun)
            with contextlib.suppress(ConnectionError):
                assert b"HTTP" not in await reader.read()
            writer.transport.abort()
        while server.admission.count:
            await asyncio.sleep(0.01)
    await running.close()


async def test_peers_count_as_connections(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(connections_max=2)
    running = await serve_http(server, "127.0.0.1", 0)
    async with asyncio.timeout(30):
        silent = [await asyncio.open_connection(*running.address) for _ in range(2)]
        reader, writer = await asyncio.open_connection(*running.address)
        writer.write(REQUEST)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        for _, each in (*silent, (reader, writer)):
            each.transport.abort()
        while server.admission.count:
            await asyncio.sleep(0.01)
    await running.close()
