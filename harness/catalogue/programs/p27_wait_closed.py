"""Wait_closed() of a server with an idle client (from 3.12.1 on).

Source: cpython#104344; uvicorn#2145.
"""

from __future__ import annotations

import asyncio

from harness.catalogue.entry import Entry


async def plain(fixed: bool) -> None:
    accepted = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    _reader, client = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    await accepted.wait()
    server.close()
    if fixed:
        client.close()
    try:
        await server.wait_closed()
    finally:
        client.close()


ENTRY = Entry(
    27,
    "wait_closed() of a server with an idle client (from 3.12.1 on)",
    "cpython#104344; uvicorn#2145",
    "H",
    "T",
    plain=plain,
)
