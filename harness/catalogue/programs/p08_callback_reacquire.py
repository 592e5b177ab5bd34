"""A lock taken again through a callback.

Source: GoKer moby_17176, syncthing_4829.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    lock, seen = world.lock("lock"), world.event("seen")

    async def hook() -> None:
        async with lock:
            pass

    async def publish() -> None:
        await world.pause()
        async with lock:
            listening = seen.is_set()
            if listening and not fixed:
                await hook()
        if listening and fixed:
            await hook()

    async def subscribe() -> None:
        await world.pause()
        seen.set()

    return [("publish", publish()), ("subscribe", subscribe())]


ENTRY = Entry(
    8,
    "a lock taken again through a callback",
    "GoKer moby_17176, syncthing_4829",
    "S",
    "W",
    build=build,
)
