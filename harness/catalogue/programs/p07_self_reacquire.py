"""A lock taken again by its owner.

Source: GoKer hugo_5379, grpc_795, etcd_5509.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    lock = world.lock("lock")

    async def inner() -> None:
        async with lock:
            pass

    async def outer() -> None:
        async with lock:
            await world.pause()
            if not fixed:
                await inner()
        if fixed:
            await inner()

    return [("outer", outer()), ("other", inner())]


ENTRY = Entry(
    7,
    "a lock taken again by its owner",
    "GoKer hugo_5379, grpc_795, etcd_5509",
    "H",
    "W",
    build=build,
)
