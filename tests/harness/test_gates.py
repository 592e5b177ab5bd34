"""Gates."""

import asyncio

import pytest

from emulator.scheduling import AsyncioScheduler, Point
from harness.gates import Gates
from protocols.actor import Actor


class World:
    def __init__(self) -> None:
        self.scheduler = AsyncioScheduler()
        self.gates = Gates(self.scheduler)
        self.log: list[str] = []

    def start(self, kind: str, *points: str) -> asyncio.Task[None]:
        actor = Actor(kind)

        async def work() -> None:
            for point in points:
                await self.scheduler.reach(Point(point))
                self.log.append(f"{kind} past {point}")

        return self.scheduler.spawn(actor, work())


@pytest.fixture
def world() -> World:
    return World()


async def test_an_actor_is_held_exactly_there(world: World) -> None:
    gate = world.gates.hold("inbound.imail.held", actor="smtp")
    task = world.start("smtp", "inbound.imail.wanted", "inbound.imail.held")
    await world.start("imap", "inbound.imail.held")
    actor = await gate.wait_until_held()
    assert actor.kind == "smtp"
    assert sorted(world.log) == ["imap past inbound.imail.held", "smtp past inbound.imail.wanted"]
    gate.release()
    await task
    assert world.log[-1] == "smtp past inbound.imail.held"
    assert gate.passed == 1


async def test_a_gate_holds_so_many_and_no_more(world: World) -> None:
    gate = world.gates.hold("*.held", count=2)
    tasks = [world.start("smtp", "inbound.imail.held") for _ in range(3)]
    await gate.wait_until_held(2)
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [task.done() for task in tasks] == [False, False, True]
    world.gates.close()
    await asyncio.wait(tasks)
    assert world.scheduler.hook is None


async def test_a_timeout_says_what_was_seen_instead(world: World) -> None:
    gate = world.gates.hold("outbound.imail.held")
    await world.start("smtp", "inbound.imail.held")
    with pytest.raises(TimeoutError, match=r"outbound\.imail\.held.*smtp-\d+ at inbound\.imail\.held"):
        await gate.wait_until_held(seconds_max=0.05)


async def test_a_cancelled_actor_leaves_the_gate(world: World) -> None:
    gate = world.gates.hold("x")
    task = world.start("smtp", "x")
    await gate.wait_until_held()
    task.cancel()
    await asyncio.wait([task])
    assert gate.held == []
