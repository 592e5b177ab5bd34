"""Both orders in one run, by tasks that happen to run one after the other.

Source: lockdep documentation.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    a, b, started = world.lock("a"), world.lock("b"), world.event("started")

    async def early() -> None:
        async with a:
            started.set()
            async with b:
                await world.pause()

    async def late() -> None:
        await started.wait()
        for _ in range(3):
            await world.pause()
        async with a if fixed else b:
            await world.pause()
            async with b if fixed else a:
                pass

    async def again() -> None:
        await started.wait()
        async with a:
            await world.pause()
            async with b:
                pass

    return [("early", early()), ("late", late()), ("again", again())]


ENTRY = Entry(
    2,
    "both orders in one run, by tasks that happen to run one after the other",
    "lockdep documentation",
    "S",
    "L",
    build=build,
)
