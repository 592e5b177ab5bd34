"""Both orders within one task.

Source: sanitizers#488.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    a, b = world.lock("a"), world.lock("b")

    async def alone() -> None:
        for first, second in ((a, b), (a, b) if fixed else (b, a)):
            async with first:
                await world.pause()
                async with second:
                    pass

    async def reader() -> None:
        await world.pause()
        async with b:
            pass

    return [("alone", alone()), ("reader", reader())]


ENTRY = Entry(
    31,
    "both orders within one task",
    "sanitizers#488",
    "N",
    "L",
    build=build,
)
