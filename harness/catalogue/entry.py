"""What an entry of the catalogue says, and where the entries are."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from harness.catalogue import programs
from harness.catalogue.world import World

Actors = Sequence[tuple[str, Coroutine[Any, Any, Any]]]


@dataclass(frozen=True, slots=True)
class Entry:
    """`verdict`: H every schedule hangs, S some do, N none. The fixed twin's verdict is N always.

    `build(world, fixed)` gives the actors of the program. `plain(fixed)` is there instead where the program needs
    threads, sockets or timers: a coroutine for asyncio.run, out of the explorer's sight.
    """

    number: int
    title: str
    source: str
    verdict: str
    detectors: str
    build: Callable[[World, bool], Actors] | None = None
    plain: Callable[[bool], Coroutine[Any, Any, Any]] | None = None
    note: str = ""


def entries() -> list[Entry]:
    """All entries in the order of their numbers."""
    found = [
        importlib.import_module(f"{programs.__name__}.{module.name}").ENTRY
        for module in pkgutil.iter_modules(programs.__path__)
    ]
    return sorted(found, key=lambda entry: entry.number)
