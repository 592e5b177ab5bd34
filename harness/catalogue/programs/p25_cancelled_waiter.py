"""A cancelled waiter of a lock loses the wake-up that it had been given.

Source: bpo-27585; anyio#1145.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World
from harness.exploration import touch


def build(world: World, fixed: bool) -> Actors:
    waiters: deque[Any] = deque()
    state = {"taken": True, "given up": False}

    async def acquire(may_give_up: bool) -> bool:
        touch("lock")
        if state["taken"]:
            waiter = world.waiter()
            waiters.append(waiter)
            await waiter
            await world.pause()
            touch("lock")
            if may_give_up and state["given up"]:
                if fixed:
                    pass_on()
                return False
        state["taken"] = True
        return True

    def pass_on() -> None:
        touch("lock")
        state["taken"] = False
        if waiters:
            waiters.popleft().wake()

    async def owner() -> None:
        await world.pause()
        pass_on()

    async def client(may_give_up: bool) -> None:
        if await acquire(may_give_up):
            pass_on()

    async def canceller() -> None:
        await world.pause()
        touch("lock")
        state["given up"] = True

    return [("first", client(True)), ("second", client(False)), ("owner", owner()), ("canceller", canceller())]


ENTRY = Entry(
    25,
    "a cancelled waiter of a lock loses the wake-up that it had been given",
    "bpo-27585; anyio#1145",
    "S",
    "X",
    build=build,
)
