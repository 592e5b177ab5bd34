"""Opposite orders, but one task is joined before the other begins.

Source: DeadlockFuzzer's class of false positives.
"""

from __future__ import annotations

from typing import Any

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    a, b = world.lock("a"), world.lock("b")

    async def path(first: Any, second: Any) -> None:
        async with first:
            await world.pause()
            async with second:
                pass

    async def main() -> None:
        await (await world.spawn("child", path(a, b)))
        await path(*((a, b) if fixed else (b, a)))

    return [("main", main())]


ENTRY = Entry(
    33,
    "opposite orders, but one task is joined before the other begins",
    "DeadlockFuzzer's class of false positives",
    "N",
    "L",
    build=build,
)
