"""A binary semaphore and a lock in opposite order.

Source: classic.
"""

from __future__ import annotations

from typing import Any

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    gate, lock = world.semaphore("gate", 1), world.lock("lock")

    async def path(first: Any, second: Any) -> None:
        await world.pause()
        await first.acquire()
        await world.pause()
        await second.acquire()
        second.release()
        first.release()

    return [("one", path(gate, lock)), ("two", path(*((gate, lock) if fixed else (lock, gate))))]


ENTRY = Entry(
    17,
    "a binary semaphore and a lock in opposite order",
    "classic",
    "S",
    "WX",
    build=build,
)
