"""A state checked outside of the lock: the notification is missed.

Source: GoKer moby_30408, moby_29733.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    lock, ready = world.lock("lock"), world.event("ready")
    changed = world.condition("changed", lock)

    async def waiter() -> None:
        if fixed:
            async with changed:
                while not ready.is_set():
                    await changed.wait()
            return
        if not ready.is_set():
            await world.pause()
            async with changed:
                await changed.wait()

    async def notifier() -> None:
        await world.pause()
        async with changed:
            ready.set()
            changed.notify_all()

    return [("waiter", waiter()), ("notifier", notifier())]


ENTRY = Entry(
    11,
    "a state checked outside of the lock: the notification is missed",
    "GoKer moby_30408, moby_29733",
    "S",
    "XT",
    build=build,
)
