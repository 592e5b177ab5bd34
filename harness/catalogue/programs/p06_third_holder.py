"""The same, and a third task that holds one lock across an await.

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

    async def holder() -> None:
        await world.pause()
        async with a:
            await world.pause()

    return [("one", path(a, b)), ("two", path(*((a, b) if fixed else (b, a)))), ("holder", holder())]


ENTRY = Entry(
    6,
    "the same, and a third task that holds one lock across an await",
    "own trial",
    "S",
    "LX",
    build=build,
)
