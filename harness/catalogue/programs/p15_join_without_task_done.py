"""Join of a queue, task_done left out on an exception.

Source: GoKer moby_25384, cockroach_1055.
"""

from __future__ import annotations

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    queue, broken = world.queue("queue"), world.event("broken")

    async def consumer() -> None:
        await queue.get()
        try:
            await world.pause()
            if broken.is_set():
                raise ValueError
            if not fixed:
                queue.task_done()
        except ValueError:
            pass
        finally:
            if fixed:
                queue.task_done()

    async def producer() -> None:
        await queue.put("item")
        await queue.join()

    async def fault() -> None:
        await world.pause()
        broken.set()

    return [("consumer", consumer()), ("producer", producer()), ("fault", fault())]


ENTRY = Entry(
    15,
    "join of a queue, task_done left out on an exception",
    "GoKer moby_25384, cockroach_1055",
    "S",
    "T",
    build=build,
)
