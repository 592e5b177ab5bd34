"""The loop's thread waits for a coroutine of its own loop.

Source: aiologic#38; an Airflow incident.
"""

from __future__ import annotations

import asyncio

from harness.catalogue.entry import Entry


async def plain(fixed: bool) -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    if fixed:
        await work()
    else:
        asyncio.run_coroutine_threadsafe(work(), asyncio.get_running_loop()).result()


ENTRY = Entry(
    20,
    "the loop's thread waits for a coroutine of its own loop",
    "aiologic#38; an Airflow incident",
    "H",
    "WT",
    plain=plain,
)
