"""Spool files/s, each written, synced, renamed and its folder synced, by how many threads share the work."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from emulator import spool
from emulator.spool import IN, DiskSpool, Envelope

BODY = b"Subject: benchmark\r\n\r\n" + b"A line of mail.\r\n" * 200


async def rate(threads: int, files: int) -> float:
    spool.THREADS = threads
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        disk = DiskSpool(Path(folder))
        disk.open()
        left = iter(range(files))

        async def session() -> None:
            for _ in left:
                await disk.write(IN, Envelope("a@b.test", ("c@d.test",)), BODY)

        began = time.perf_counter()
        await asyncio.gather(*(session() for _ in range(64)))
        seconds = time.perf_counter() - began
        disk.close()
    return files / seconds


async def main() -> None:
    for threads in (1, 4, 8, 16, 32):
        print(f"{threads:3} threads: {await rate(threads, 1000):,.0f} files/s")


if __name__ == "__main__":
    asyncio.run(main())
