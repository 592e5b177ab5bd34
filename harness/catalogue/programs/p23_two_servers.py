"""Two servers that call each other while each holds its own lock.

Source: distributed ABBA.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    locks = [world.lock("here"), world.lock("there")]
    inboxes = [world.queue("inbox0"), world.queue("inbox1")]
    replies = [world.queue("reply0"), world.queue("reply1")]

    async def handler(number: int) -> None:
        await inboxes[number].get()
        async with locks[number]:
            await replies[1 - number].put("done")

    async def caller(number: int) -> None:
        await world.pause()
        async with locks[number]:
            await world.pause()
            await inboxes[1 - number].put("call")
            if not fixed:
                await replies[number].get()
        if fixed:
            await replies[number].get()

    return [(f"{role.__name__}{n}", role(n)) for n in (0, 1) for role in (handler, caller)]


ENTRY = Entry(
    23,
    "two servers that call each other while each holds its own lock",
    "distributed ABBA",
    "S",
    "WX",
    build=build,
)
