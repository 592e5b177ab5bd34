"""Work queues; the inbound side of the Internet Mail Service is tested with a whole server in test_server.py."""

import asyncio

import pytest

from emulator.queues import QueueClosed, WorkQueue
from emulator.scheduling import AsyncioScheduler


@pytest.fixture
def queue() -> WorkQueue[int]:
    return WorkQueue(AsyncioScheduler())


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_in_first_out(queue: WorkQueue[int]) -> None:
    for number in range(3):
        queue.put(number)
    assert len(queue) == 3
    assert [await queue.get() for _ in range(3)] == [0, 1, 2]


async def test_a_worker_waits_for_work(queue: WorkQueue[int]) -> None:
    workers = [asyncio.ensure_future(queue.get()) for _ in range(2)]
    await turns()
    queue.put(1)
    queue.put(2)
    assert sorted(await asyncio.gather(*workers)) == [1, 2]


async def test_closing_sends_workers_home_and_keeps_the_work(queue: WorkQueue[int]) -> None:
    worker = asyncio.ensure_future(queue.get())
    await turns()
    queue.close()
    with pytest.raises(QueueClosed):
        await worker
    queue.put(1)
    with pytest.raises(QueueClosed):
        await queue.get()
    queue.open()
    assert await queue.get() == 1


async def test_a_cancelled_worker_does_not_swallow_the_wake_up_of_another(queue: WorkQueue[int]) -> None:
    first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
    await turns()
    queue.put(1)  # wakes the first ...
    first.cancel()  # ... which is cancelled before it runs
    assert await asyncio.wait_for(second, 5) == 1
