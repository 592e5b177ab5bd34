"""Await stacks."""

import asyncio

from emulator.scheduling import AsyncioScheduler
from harness.stacks import await_stack
from protocols.actor import Actor


async def innermost() -> None:
    await asyncio.get_running_loop().create_future()


class Around:
    async def __aenter__(self) -> None:
        await innermost()

    async def __aexit__(self, *exc_info: object) -> None:
        pass


async def outer() -> None:
    async with Around():
        pass


async def test_the_whole_chain_of_awaits_is_seen() -> None:
    scheduler, actor = AsyncioScheduler(), Actor("test")
    scheduler.spawn(actor, outer())
    await asyncio.sleep(0)
    names = [frame.rsplit(" in ", 1)[1] for frame in await_stack(actor)]
    assert names[-1] == "innermost"
    assert "outer" in names
    assert "Around.__aenter__" in names
    assert all("test_stacks.py:" in frame for frame in await_stack(actor) if "innermost" in frame)
    await scheduler.cancel_all()
    assert await_stack(actor) == []


def test_an_actor_that_never_began_has_no_stack() -> None:
    assert await_stack(Actor("test")) == []
