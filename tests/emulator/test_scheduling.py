"""Waiting and waking on asyncio."""

import asyncio
import gc
import warnings

from emulator.scheduling import AsyncioScheduler, Point, Preemption, retry_pause
from protocols.actor import Actor, current_actor

POINT = Point("test.point")


async def test_a_waiter_may_be_woken_before_it_is_awaited() -> None:
    waiter = AsyncioScheduler().waiter()
    waiter.wake()
    waiter.wake()
    await waiter


async def test_preemption_is_seeded() -> None:
    def draws(seed: int) -> list[bool]:
        scheduler = AsyncioScheduler(Preemption(one_in=3, seed=seed))
        return [next(scheduler.reach(POINT).__await__(), "passed") is None for _ in range(100)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert 15 < sum(draws(1)) < 55


async def test_without_preemption_a_point_does_not_suspend() -> None:
    scheduler = AsyncioScheduler(Preemption(one_in=0))

    async def pass_points() -> None:
        for _ in range(10):
            await scheduler.reach(POINT)

    coroutine = pass_points()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("a point suspended")


async def test_actors_are_current_in_their_tasks_and_failures_are_kept() -> None:
    scheduler, seen = AsyncioScheduler(), []

    async def work() -> None:
        seen.append(current_actor.get().name)
        raise RuntimeError("a defect")

    await asyncio.wait([scheduler.spawn(Actor("smtp", 7), work())])
    await asyncio.sleep(0)
    assert seen == ["smtp-7"]
    assert [(name, str(error)) for name, error in scheduler.failures] == [("smtp-7", "a defect")]
    assert not scheduler.tasks


async def test_cancel_all_ends_what_waits_for_ever() -> None:
    scheduler = AsyncioScheduler()

    async def wait() -> None:
        await scheduler.waiter()

    scheduler.spawn(Actor("imap"), wait())
    await asyncio.sleep(0)
    await scheduler.cancel_all()
    assert not scheduler.tasks


async def test_an_actor_that_is_cancelled_before_it_began_leaves_no_coroutine_behind() -> None:
    scheduler, seen = AsyncioScheduler(), []

    async def work() -> None:
        seen.append("began")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.spawn(Actor("mqtt"), work()).cancel()
        await scheduler.cancel_all()
        gc.collect()
    assert seen == []


def test_pauses_double_up_to_the_longest() -> None:
    assert [retry_pause(attempts, 60, 3600) for attempts in (0, 1, 2, 6, 1000)] == [60, 120, 240, 3600, 3600]
