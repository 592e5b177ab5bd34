"""A wait with a limit swallows the cancellation that comes at its very end.

Source: bpo-42130.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World
from harness.exploration import touch


def build(world: World, fixed: bool) -> Actors:
    state = {"cancelled": False, "done": False}
    result, stop = world.event("result"), world.event("stop")

    async def limited_wait() -> None:
        """Waits for a result; a cancellation that arrives when the result is there already is dropped."""
        await result.wait()
        await world.pause()
        touch("state")
        if state["cancelled"] and fixed:
            stop.set()
        state["done"] = True

    async def worker() -> None:
        await limited_wait()
        await stop.wait()

    async def producer() -> None:
        await world.pause()
        result.set()

    async def canceller() -> None:
        await world.pause()
        touch("state")
        state["cancelled"] = True
        if state["done"]:
            stop.set()

    return [("worker", worker()), ("producer", producer()), ("canceller", canceller())]


ENTRY = Entry(
    26,
    "a wait with a limit swallows the cancellation that comes at its very end",
    "bpo-42130",
    "S",
    "X",
    build=build,
)
