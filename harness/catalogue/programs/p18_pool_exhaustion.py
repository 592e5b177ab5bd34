"""Workers that each need two of a pool's permits.

Source: classic.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    pool = world.semaphore("pool", 2)

    async def worker() -> None:
        await world.pause()
        await pool.acquire()
        await world.pause()
        if fixed:
            pool.release()
        await pool.acquire()
        pool.release()
        if not fixed:
            pool.release()

    return [("one", worker()), ("two", worker())]


ENTRY = Entry(
    18,
    "workers that each need two of a pool's permits",
    "classic",
    "S",
    "WX",
    build=build,
)
