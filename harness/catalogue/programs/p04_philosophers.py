"""Five philosophers.

Source: classic.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    forks = [world.lock(f"fork{number}") for number in range(5)]

    async def eat(left: int, right: int) -> None:
        await world.pause()
        async with forks[left]:
            await world.pause()
            async with forks[right]:
                pass

    pairs = [(number, (number + 1) % 5) for number in range(5)]
    return [(f"philosopher{i}", eat(*(sorted(pair) if fixed else pair))) for i, pair in enumerate(pairs)]


ENTRY = Entry(
    4,
    "five philosophers",
    "classic",
    "S",
    "WLX",
    build=build,
)
