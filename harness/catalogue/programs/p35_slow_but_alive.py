"""Ten times slower than usual, a long poll.

Source: black-box check.
"""

from __future__ import annotations

import asyncio

from harness.catalogue.entry import Entry


async def plain(fixed: bool) -> None:
    lock, news = asyncio.Lock(), asyncio.Event()

    async def slow() -> None:
        async with lock:
            await asyncio.sleep(0.01 if fixed else 0.1)

    async def poll() -> None:
        await news.wait()

    async def publisher() -> None:
        await asyncio.sleep(0.02 if fixed else 0.2)
        news.set()

    await asyncio.gather(slow(), slow(), poll(), publisher())


ENTRY = Entry(
    35,
    "ten times slower than usual, a long poll",
    "black-box check",
    "N",
    "T",
    plain=plain,
)
