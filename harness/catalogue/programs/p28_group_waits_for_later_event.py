"""A TaskGroup waits for a task that waits for an event set after the group.

Source: classic.
"""

from __future__ import annotations

import asyncio

from harness.catalogue.entry import Entry


async def plain(fixed: bool) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(stop.wait())
        if fixed:
            stop.set()
    stop.set()


ENTRY = Entry(
    28,
    "a TaskGroup waits for a task that waits for an event set after the group",
    "classic",
    "H",
    "WT",
    plain=plain,
)
