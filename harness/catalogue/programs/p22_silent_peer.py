"""A lock held across an await on a peer that never answers.

Source: go-multistream#120.
"""

from __future__ import annotations

import asyncio

from harness.catalogue.entry import Entry


async def plain(fixed: bool) -> None:
    peers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _reader, peer: peers.append(peer), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    lock = asyncio.Lock()

    async def ask() -> None:
        async with lock:
            try:
                await asyncio.wait_for(reader.readline(), 0.05 if fixed else None)
            except TimeoutError:
                return

    async def other() -> None:
        await asyncio.sleep(0)
        async with lock:
            pass

    try:
        await asyncio.gather(ask(), other())
    finally:
        for stream in (writer, *peers):
            stream.close()
        server.close()


ENTRY = Entry(
    22,
    "a lock held across an await on a peer that never answers",
    "go-multistream#120",
    "S",
    "WT",
    plain=plain,
)
