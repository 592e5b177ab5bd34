"""Threads for a kind of work: bounded, in order of asking, given back whatever happens."""

from __future__ import annotations

import asyncio

import pytest

from emulator.scheduling import AsyncioClock, AsyncioScheduler, Preemption
from emulator.thread_pool import NoThread, ThreadPool


def pool_of(threads_max: int | None) -> ThreadPool:
    return ThreadPool("test", AsyncioScheduler(Preemption(one_in=0)), AsyncioClock(), threads_max)


async def test_without_a_number_nobody_waits() -> None:
    pool = pool_of(None)
    async with pool.thread(), pool.thread(), pool.thread():
        assert len(pool.busy) == 3
    assert not pool.busy


async def test_who_asked_first_gets_the_thread_that_becomes_free() -> None:
    pool = pool_of(1)
    order: list[int] = []

    async def work(number: int) -> None:
        async with pool.thread():
            order.append(number)

    await pool.take()
    tasks = [asyncio.create_task(work(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert len(pool.waiting) == 3
    pool.give_back()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert not pool.busy


async def test_giving_up_after_a_while() -> None:
    pool = pool_of(1)
    await pool.take()
    with pytest.raises(NoThread, match="all 1 threads of the test are busy"):
        await pool.take(0.01)
    assert not pool.waiting
    pool.give_back()
    async with pool.thread(0.01):
        assert len(pool.busy) == 1


@pytest.mark.parametrize("served", [False, True])
async def test_a_cancelled_waiter_keeps_no_thread(served: bool) -> None:
    pool = pool_of(1)
    await pool.take()
    waiter = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    if served:
        pool.give_back()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    if not served:
        pool.give_back()
    assert not pool.busy
    assert not pool.waiting


async def test_an_error_gives_the_thread_back() -> None:
    pool = pool_of(1)
    with pytest.raises(RuntimeError):
        async with pool.thread():
            raise RuntimeError
    assert not pool.busy
