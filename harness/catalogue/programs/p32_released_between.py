"""A then B, A released, B then C, against C then A.

Source: sanitizers#814.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    a, b, c = world.lock("a"), world.lock("b"), world.lock("c")

    async def hand_over_hand() -> None:
        await world.pause()
        await a.acquire()
        await world.pause()
        await b.acquire()
        a.release()
        await world.pause()
        async with c:
            pass
        b.release()

    async def other() -> None:
        await world.pause()
        async with a if fixed else c:
            await world.pause()
            async with c if fixed else a:
                pass

    return [("hand over hand", hand_over_hand()), ("other", other())]


ENTRY = Entry(
    32,
    "A then B, A released, B then C, against C then A",
    "sanitizers#814",
    "N",
    "L",
    build=build,
)
