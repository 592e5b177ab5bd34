"""An owner that ends without a release.

Source: trio's BrokenResourceError case.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    lock, taken = world.lock("lock"), world.event("taken")

    async def owner() -> None:
        await lock.acquire()
        taken.set()
        await world.pause()
        if fixed:
            lock.release()

    async def other() -> None:
        await taken.wait()
        await world.pause()
        async with lock:
            pass

    return [("owner", owner()), ("other", other())]


ENTRY = Entry(
    29,
    "an owner that ends without a release",
    "trio's BrokenResourceError case",
    "H",
    "W",
    build=build,
)
