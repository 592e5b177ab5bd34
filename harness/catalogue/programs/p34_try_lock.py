"""Opposite orders, but the second lock is only tried.

Source: frontrun's remark on timed acquires.
"""

from __future__ import annotations

from typing import Any

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    a, b = world.lock("a"), world.lock("b")

    async def polite(first: Any, second: Any) -> None:
        for _ in range(2):
            await world.pause()
            async with first:
                await world.pause()
                if not second.locked():
                    await second.acquire()
                    second.release()
                    return

    return [("one", polite(a, b)), ("two", polite(*((a, b) if fixed else (b, a))))]


ENTRY = Entry(
    34,
    "opposite orders, but the second lock is only tried",
    "frontrun's remark on timed acquires",
    "N",
    "W",
    build=build,
)
