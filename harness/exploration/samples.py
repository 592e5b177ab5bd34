"""Classic small programs: what the engine is measured and tested with, and examples of how one is written."""

from __future__ import annotations

from harness.exploration.execution import Actor, Factory
from harness.exploration.objects import Cell, Lock


async def nested(first: Lock, second: Lock, reads: int = 0, cell: Cell | None = None) -> None:
    """Hold both locks at once, then look `reads` times at a shared variable."""
    async with first, second:
        pass
    for _ in range(reads):
        assert cell is not None
        await cell.read()


def two_locks(*, patched: bool = False, reads: int = 0) -> list[Actor]:
    """The inbound and the outbound path of Q279798: two locks, taken in opposite order unless patched."""
    a, b, cell = Lock("imail"), Lock("store"), Cell("counter", 0)
    outbound = (a, b) if patched else (b, a)
    return [Actor("inbound", nested(a, b, reads, cell)), Actor("outbound", nested(*outbound, reads, cell))]


def patched_two_locks() -> list[Actor]:
    """The same with one global lock order."""
    return two_locks(patched=True)


def philosophers(count: int) -> Factory:
    """`count` actors in a ring, each of which takes the fork on its left and then the one on its right."""

    def factory() -> list[Actor]:
        forks = [Lock(f"fork{number}") for number in range(count)]
        return [Actor(f"philosopher{i}", nested(forks[i], forks[(i + 1) % count])) for i in range(count)]

    return factory
