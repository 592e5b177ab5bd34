"""A thread lock and an asyncio lock in opposite order.

Source: aiologic#38.
"""

from __future__ import annotations

import asyncio
import threading

from harness.catalogue.entry import Entry


async def plain(fixed: bool) -> None:
    loop, lock = asyncio.get_running_loop(), asyncio.Lock()
    thread_lock, holding = threading.Lock(), threading.Event()

    async def take() -> None:
        async with lock:
            pass

    def worker() -> None:
        if fixed:
            holding.set()
            asyncio.run_coroutine_threadsafe(take(), loop).result()
            with thread_lock:
                return
        with thread_lock:
            holding.set()
            asyncio.run_coroutine_threadsafe(take(), loop).result()

    work = loop.run_in_executor(None, worker)
    async with lock:
        while not holding.is_set():  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.001)
        with thread_lock:
            pass
    await work


ENTRY = Entry(
    21,
    "a thread lock and an asyncio lock in opposite order",
    "aiologic#38",
    "S",
    "WLX",
    plain=plain,
)
