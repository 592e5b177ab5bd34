"""Opposite orders under a common gate lock.

Source: iGoodLock.
"""

from __future__ import annotations

from typing import Any

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    gate, a, b = world.lock("gate"), world.lock("a"), world.lock("b")

    async def path(first: Any, second: Any) -> None:
        await world.pause()
        async with gate, first:
            await world.pause()
            async with second:
                pass

    return [("one", path(a, b)), ("two", path(*((a, b) if fixed else (b, a))))]


ENTRY = Entry(
    30,
    "opposite orders under a common gate lock",
    "iGoodLock",
    "N",
    "L",
    build=build,
)
