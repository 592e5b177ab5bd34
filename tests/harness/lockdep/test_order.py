"""Orders that cannot jam although they look like it: locks on the way, starts and ends; what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from harness import lockdep

Body = Sequence[int]
"""Positive numbers take a lock, negative ones give it back."""

HAND_OVER_HAND: list[tuple[Body, Body]] = [
    ((2, 1, 3, -1, 1, -1, -3, -2), (1, -1, 2, 1, -2, 3, -3, -1)),
    ((3, 1, 2, -3, -1, 1, -1, -2), (3, 2, -2, 1, 2, -2, -1, -3)),
    ((2, 1, -1, 3, -3, 1, 3, -3, -1, -2), (2, 1, 3, -2, -1, 1, -1, -3)),
    ((2, 3, 1, -3, 3, -3, -1, -2), (2, 1, 3, -1, 1, -1, -2, 1, -1, -3)),
    ((1, 2, 3, -2, 2, -2, -3, -1), (1, 3, 2, -3, -1, 3, -3, -2)),
    ((3, 2, -3, 1, -1, -2), (2, -2, 3, 2, 1, -2, 2, -2, -1, -3)),
]
"""The second lock of one task is taken within a lock of the other, that the other needs to come to its place."""


async def one_after_the_other(bodies: Sequence[Body], *, limited: bool = False) -> None:
    locks = [asyncio.Lock() for _ in range(4)]
    turns = [asyncio.Event() for _ in bodies]

    async def take(lock: asyncio.Lock, held: int) -> None:
        if limited and held:
            async with asyncio.timeout(60):
                await lock.acquire()
        else:
            await lock.acquire()

    async def perform(place: int, body: Body) -> None:
        held = 0
        if place:
            await turns[place - 1].wait()
        for number in body:
            if number > 0:
                await take(locks[number], held)
                held += 1
            else:
                locks[-number].release()
                held -= 1
            await asyncio.sleep(0)
        turns[place].set()

    async with asyncio.TaskGroup() as group:
        for place, body in enumerate(bodies):
            group.create_task(perform(place, body))


@pytest.mark.parametrize("bodies", HAND_OVER_HAND)
def test_a_lock_on_the_way_makes_it_harmless(bodies: tuple[Body, Body]) -> None:
    with lockdep.watch() as watch:
        asyncio.run(one_after_the_other(bodies))
    assert watch.findings() == []


@pytest.mark.parametrize(
    "bodies",
    [
        ((1, 2, -1, 3, 1, -1, -3, -2), (1, 2, -2, -1)),  # taken again while 2 and 3 stay held
        ((3, 2, -3, 1, -1, -2), (2, -2, 3, 1, 2, -2, -1, -3)),  # 2 was passed before 3 was taken, not within
        ((2, 1, 3, -3, -1, -2), (3, 1, 2, -2, -1, -3)),
    ],
)
def test_what_only_resembles_it_is_told(bodies: tuple[Body, Body]) -> None:
    with lockdep.watch() as watch:
        asyncio.run(one_after_the_other(bodies))
    assert {(finding.kind, finding.verdict) for finding in watch.findings()} == {("order", "feasible")}


def test_a_way_that_need_not_be_waited_for_excludes_nothing() -> None:
    with lockdep.watch() as watch:
        asyncio.run(one_after_the_other(HAND_OVER_HAND[5], limited=True))
    assert watch.findings() == []  # all inner locks have limits: nothing to tell
    recorder = watch.recorder
    assert not any(dependency.passed for dependency in recorder.dependencies)


def test_short_tasks_without_end_leave_little_behind() -> None:
    async def program() -> None:
        outer, inner = asyncio.Lock(), asyncio.Lock()

        async def short() -> None:
            async with outer, inner:
                pass

        for _ in range(1_000):
            await asyncio.get_running_loop().create_task(short())

    with lockdep.watch() as watch:
        asyncio.run(program())
        recorder = watch.recorder
        assert len(recorder.dependencies) == recorder.kept == 8
        parents = {one.actor.parent for one in recorder.dependencies if one.actor.parent is not None}
        assert len(parents) == 1
        assert all(len(parent.children) <= 1 for parent in parents)
    assert watch.findings() == []


def test_the_latest_of_many_tasks_is_still_compared() -> None:
    async def overlapping() -> None:
        a, b = asyncio.Lock(), asyncio.Lock()
        over = asyncio.Event()

        async def take(first: asyncio.Lock, second: asyncio.Lock) -> None:
            async with first:
                await asyncio.sleep(0)
                async with second:
                    pass

        async def lingers() -> None:
            await take(a, b)
            await over.wait()

        for _ in range(50):
            await asyncio.get_running_loop().create_task(take(a, b))
        late = asyncio.get_running_loop().create_task(lingers())
        while not any(one.actor.task is late for one in watch.recorder.dependencies):
            await asyncio.sleep(0)
        while a.locked():
            await asyncio.sleep(0)
        await asyncio.get_running_loop().create_task(take(b, a))
        over.set()
        await late

    with lockdep.watch() as watch:
        asyncio.run(overlapping())
    assert [(finding.kind, finding.verdict) for finding in watch.findings()] == [("order", "feasible")]
