"""Put into a full queue while holding the lock that the consumer needs.

Source: GoKer etcd_7443, kubernetes_10182, moby_28462.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    lock, queue = world.lock("lock"), world.queue("queue", 1)

    async def producer() -> None:
        for item in range(2):
            await world.pause()
            if fixed:
                async with lock:
                    pass
                await queue.put(item)
            else:
                async with lock:
                    await queue.put(item)

    async def consumer() -> None:
        for _ in range(2):
            await world.pause()
            async with lock:
                pass
            await queue.get()

    return [("producer", producer()), ("consumer", consumer())]


ENTRY = Entry(
    13,
    "put into a full queue while holding the lock that the consumer needs",
    "GoKer etcd_7443, kubernetes_10182, moby_28462",
    "S",
    "WX",
    build=build,
)
