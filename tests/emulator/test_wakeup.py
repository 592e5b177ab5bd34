"""A task that waits goes on inside the event that wakes it, unless another task is running."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from emulator.wakeup import Wakeup

NAME = ContextVar("NAME", default="nobody")


async def begun(wakeup: Wakeup, seen: list[str]) -> asyncio.Task[None]:
    """A task that waits."""

    async def wait() -> None:
        NAME.set("the task's own")
        try:
            await wakeup
        except ValueError as error:
            seen.append(str(error))
        seen.append(NAME.get())

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    return task


def outside_tasks(call: object) -> asyncio.Future[None]:
    """Have the loop itself call, and say when it has."""
    loop = asyncio.get_running_loop()
    called = loop.create_future()

    def do() -> None:
        assert callable(call)
        call()
        called.set_result(None)

    loop.call_soon(do)
    return called


async def test_an_event_goes_on_with_the_task_at_once() -> None:
    wakeup, seen = Wakeup(asyncio.get_running_loop()), list[str]()
    task = await begun(wakeup, seen)

    def event() -> None:
        wakeup.wake()
        seen.append("behind the event")
        wakeup.wake()

    await outside_tasks(event)
    await task
    assert seen == ["the task's own", "behind the event"]
    assert NAME.get() == "nobody"
    assert wakeup.done()


async def test_another_task_does_not_run_it() -> None:
    wakeup, seen = Wakeup(asyncio.get_running_loop()), list[str]()
    task = await begun(wakeup, seen)
    wakeup.wake()
    assert seen == []
    await task
    assert seen == ["the task's own"]


async def test_an_error_ends_the_wait() -> None:
    wakeup, seen = Wakeup(asyncio.get_running_loop()), list[str]()
    task = await begun(wakeup, seen)
    await outside_tasks(lambda: wakeup.fail(ValueError("too late")))
    await task
    wakeup.fail(ValueError("again"))
    assert seen == ["too late", "the task's own"]


async def test_what_was_woken_before_does_not_wait() -> None:
    wakeup = Wakeup(asyncio.get_running_loop())
    wakeup.wake()
    await wakeup
    assert not wakeup.cancel()


async def test_a_cancelled_task_learns_of_it() -> None:
    wakeup, seen = Wakeup(asyncio.get_running_loop()), list[str]()
    task = await begun(wakeup, seen)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    wakeup.wake()
    assert wakeup.done()
    assert seen == []


async def test_asyncio_takes_it_for_a_future() -> None:
    loop = asyncio.get_running_loop()
    assert asyncio.isfuture(Wakeup(loop))
    assert Wakeup(loop).get_loop() is loop
