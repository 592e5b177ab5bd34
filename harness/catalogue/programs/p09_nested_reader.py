"""Read, read again, with a waiting writer between.

Source: GoKer cockroach_6181, kubernetes_62464.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import RWLock, World


def build(world: World, fixed: bool) -> Actors:
    lock = RWLock(world, "rw")

    async def reader() -> None:
        await lock.read()
        await world.pause()
        if not fixed:
            await lock.read()
            await lock.read_done()
        await lock.read_done()

    async def writer() -> None:
        await world.pause()
        await lock.write()
        await lock.write_done()

    return [("reader", reader()), ("writer", writer())]


ENTRY = Entry(
    9,
    "read, read again, with a waiting writer between",
    "GoKer cockroach_6181, kubernetes_62464",
    "S",
    "WX",
    build=build,
)
