"""Get from a queue whose producer has died.

Source: GoKer grpc_1275, etcd_6857.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    queue, broken = world.queue("queue"), world.event("broken")

    async def producer() -> None:
        try:
            await world.pause()
            if broken.is_set():
                raise ConnectionError
            await queue.put("item")
        except ConnectionError:
            if fixed:
                await queue.put(None)

    async def consumer() -> None:
        await queue.get()

    async def fault() -> None:
        await world.pause()
        broken.set()

    return [("producer", producer()), ("consumer", consumer()), ("fault", fault())]


ENTRY = Entry(
    14,
    "get from a queue whose producer has died",
    "GoKer grpc_1275, etcd_6857",
    "S",
    "T",
    build=build,
)
