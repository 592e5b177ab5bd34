"""Two locks in opposite order without an await between: latent on asyncio.

Source: own trial.
"""

from __future__ import annotations

from typing import Any

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    a, b = world.lock("a"), world.lock("b")

    async def path(first: Any, second: Any) -> None:
        await world.pause()
        async with first, second:
            pass

    return [("one", path(a, b)), ("two", path(*((a, b) if fixed else (b, a))))]


ENTRY = Entry(
    5,
    "two locks in opposite order without an await between: latent on asyncio",
    "own trial",
    "N",
    "L",
    build=build,
)
