"""Two bounded queues in a ring, both full.

Source: classic communication deadlock.
"""

from __future__ import annotations

from typing import Any

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    there, back = world.queue("there", 1), world.queue("back", 1)

    async def station(source: Any, target: Any, first_put: bool) -> None:
        for turn in range(2):
            if first_put:
                await target.put(turn)
                await world.pause()
                await target.put(turn)
                await source.get()
                await source.get()
            else:
                await source.get()
                await source.get()
                await target.put(turn)
                await world.pause()
                await target.put(turn)

    return [("left", station(back, there, True)), ("right", station(there, back, not fixed))]


ENTRY = Entry(
    16,
    "two bounded queues in a ring, both full",
    "classic communication deadlock",
    "S",
    "WX",
    build=build,
)
