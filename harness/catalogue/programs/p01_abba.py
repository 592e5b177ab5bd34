"""Two locks in opposite order, an await between.

Source: KB Q279798; GoKer cockroach_10214, kubernetes_13135, moby_4951.
"""

from __future__ import annotations

from typing import Any

from harness.catalogue.entry import Actors, Entry
from harness.catalogue.world import World


def build(world: World, fixed: bool) -> Actors:
    imail, store = world.lock("imail"), world.lock("store")

    async def path(first: Any, second: Any) -> None:
        await world.pause()
        async with first:
            await world.pause()
            async with second:
                pass

    outbound = (imail, store) if fixed else (store, imail)
    return [("inbound", path(imail, store)), ("outbound", path(*outbound))]


ENTRY = Entry(
    1,
    "two locks in opposite order, an await between",
    "KB Q279798; GoKer cockroach_10214, kubernetes_13135, moby_4951",
    "S",
    "WLX",
    build=build,
)
