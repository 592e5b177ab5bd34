"""Readers that follow each other without end keep a writer out.

Source: classic; a livelock, no cycle.
"""

from __future__ import annotations

import asyncio

from harness.catalogue.entry import Entry
from harness.catalogue.world import AsyncioWorld, RWLock


async def plain(fixed: bool) -> None:
    lock = RWLock(AsyncioWorld(0), "rw", writer_first=fixed)
    done = False

    async def reader() -> None:
        while not done:
            await lock.read()
            await asyncio.sleep(0.002)
            await lock.read_done()

    async def writer() -> None:
        nonlocal done
        await asyncio.sleep(0.01)
        await lock.write()
        await lock.write_done()
        done = True

    async def late() -> None:
        await asyncio.sleep(0.001)
        await reader()

    await asyncio.gather(reader(), late(), writer())


ENTRY = Entry(
    10,
    "readers that follow each other without end keep a writer out",
    "classic; a livelock, no cycle",
    "S",
    "T",
    plain=plain,
)
