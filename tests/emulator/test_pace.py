"""Sessions wait for inbound workers that lag, and not for workers that stand still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from emulator.pace import STANDSTILL_SECONDS, WAITING_MAX, Pace
from emulator.scheduling import AsyncioScheduler
from protocols.ports import Handle


class HandClock:
    """Time that is moved by hand, with its calls."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle:
        self.calls.append((self.now + seconds, callback))
        return asyncio.get_running_loop().call_later(0, lambda: None)

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [call for when, call in self.calls if when <= self.now]
        self.calls = [(when, call) for when, call in self.calls if when > self.now]
        for call in due:
            call()


def pace() -> tuple[Pace, HandClock]:
    clock = HandClock()
    return Pace(AsyncioScheduler(), clock, 10_000), clock


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_nobody_waits_while_few_messages_do() -> None:
    keeper, _ = pace()
    keeper.moved(WAITING_MAX)
    await keeper.keep(WAITING_MAX - 1)


async def test_each_message_that_leaves_lets_one_session_go_on() -> None:
    keeper, _ = pace()
    keeper.moved(WAITING_MAX)
    sessions = [asyncio.ensure_future(keeper.keep(WAITING_MAX)) for _ in range(3)]
    await turn()
    assert not any(session.done() for session in sessions)
    for gone_on in (1, 2, 3):
        keeper.moved(WAITING_MAX - 1)
        await turn()
        assert [session.done() for session in sessions] == [True] * gone_on + [False] * (3 - gone_on)


async def test_nobody_waits_for_a_queue_that_stands_still() -> None:
    keeper, clock = pace()
    await keeper.keep(WAITING_MAX)  # nothing has ever moved
    keeper.moved(WAITING_MAX)
    sessions = [asyncio.ensure_future(keeper.keep(WAITING_MAX)) for _ in range(3)]
    await turn()
    clock.advance(STANDSTILL_SECONDS / 2)
    keeper.moved(WAITING_MAX)  # it moves, and is as full as before
    clock.advance(STANDSTILL_SECONDS / 2)
    await turn()
    assert not any(session.done() for session in sessions)
    clock.advance(STANDSTILL_SECONDS)
    await asyncio.gather(*sessions)
    await keeper.keep(WAITING_MAX)
    assert not clock.calls


async def test_a_cancelled_session_is_forgotten() -> None:
    keeper, _ = pace()
    keeper.moved(WAITING_MAX)
    cancelled = asyncio.ensure_future(keeper.keep(WAITING_MAX))
    other = asyncio.ensure_future(keeper.keep(WAITING_MAX))
    await turn()
    cancelled.cancel()
    await turn()
    keeper.moved(0)
    await other
    assert cancelled.cancelled()
