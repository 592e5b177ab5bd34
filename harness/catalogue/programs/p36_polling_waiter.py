"""A waiter that polls a lock its own task holds for a while.

Source: tox-dev/filelock#675.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    lock, released = world.lock("lock"), world.event("released")

    async def owner() -> None:
        async with lock:
            await world.pause()
        released.set()

    async def poller() -> None:
        for _ in range(3):
            if not lock.locked():
                break
            await world.pause()
        if not fixed:
            await released.wait()

    return [("owner", owner()), ("poller", poller())]


ENTRY = Entry(
    36,
    "a waiter that polls a lock its own task holds for a while",
    "tox-dev/filelock#675",
    "N",
    "W",
    build=build,
)
