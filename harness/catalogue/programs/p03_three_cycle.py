"""Three locks in a ring.

Source: ByroRedux#2675 (a checker of two-lock cycles missed it).
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    locks = [world.lock(name) for name in "abc"]

    async def path(first: int, second: int) -> None:
        await world.pause()
        async with locks[first]:
            await world.pause()
            async with locks[second]:
                pass

    third = (0, 2) if fixed else (2, 0)
    return [("ab", path(0, 1)), ("bc", path(1, 2)), ("ca", path(*third))]


ENTRY = Entry(
    3,
    "three locks in a ring",
    "ByroRedux#2675 (a checker of two-lock cycles missed it)",
    "S",
    "WLX",
    build=build,
)
