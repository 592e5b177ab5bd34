from __future__ import annotations

import asyncio

import pytest

from harness.testing.clock import AdvancingClock


async def test_timers_fall_due_in_order() -> None:
    clock = AdvancingClock()
    seen: list[str] = []
    clock.call_later(20, lambda: seen.append("b"))
    clock.call_later(10, lambda: (seen.append("a"), clock.call_later(5, lambda: seen.append("a2")))[0])
    clock.call_later(100, lambda: seen.append("never")).cancel()
    later = clock.call_later(50, lambda: seen.append("c"))
    before = clock.monotonic()
    await clock.advance(30)
    assert seen == ["a", "a2", "b"]
    assert 30 <= clock.monotonic() - before < 31
    assert 15 < later.when() - clock.monotonic() <= 20
    await clock.advance(minutes=1)
    assert seen[-1] == "c"


async def test_sleep() -> None:
    clock = AdvancingClock()
    sleeping = asyncio.ensure_future(clock.sleep(3600))
    await asyncio.sleep(0)
    await clock.advance(hours=1)
    await asyncio.wait_for(sleeping, 1)
    with pytest.raises(ValueError, match="time does not go back"):
        await clock.advance(-1)
