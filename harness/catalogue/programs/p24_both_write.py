"""Both sides write, nobody reads, the windows fill.

Source: TCP.
"""

from __future__ import annotations

import asyncio

from harness.catalogue.entry import Entry


async def plain(fixed: bool) -> None:
    block = b"x" * 1_000_000

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def write() -> None:
            for _ in range(16):
                writer.write(block)
                await writer.drain()
            writer.write_eof()

        async def read() -> None:
            while await reader.read(1_000_000):
                pass

        if fixed:
            await asyncio.gather(write(), read())
        else:
            await write()
            await read()
        writer.close()
        done.set()

    done = asyncio.Event()
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        await talk(*await asyncio.open_connection(*server.sockets[0].getsockname()[:2]))
        await done.wait()
    finally:
        server.close()


ENTRY = Entry(
    24,
    "both sides write, nobody reads, the windows fill",
    "TCP",
    "S",
    "T",
    plain=plain,
)
