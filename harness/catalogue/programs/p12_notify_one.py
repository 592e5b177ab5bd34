"""Notify() where notify_all() is needed.

Source: classic.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    lock, ready = world.lock("lock"), world.event("ready")
    changed = world.condition("changed", lock)

    async def waiter() -> None:
        await world.pause()
        async with changed:
            while not ready.is_set():
                await changed.wait()

    async def notifier() -> None:
        await world.pause()
        async with changed:
            ready.set()
            if fixed:
                changed.notify_all()
            else:
                changed.notify()

    return [("one", waiter()), ("two", waiter()), ("notifier", notifier())]


ENTRY = Entry(
    12,
    "notify() where notify_all() is needed",
    "classic",
    "S",
    "XT",
    build=build,
)
