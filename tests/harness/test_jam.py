"""`serve --jam`: a server that goes into the jam by itself, with its own traffic."""

from __future__ import annotations

import asyncio

import pytest

from harness.jam import arm
from harness.scenario import UnknownScenario
from harness.scenarios.stage import OTHER, Stage, mail
from protocols.ports import Target

DEFECTIVE, PATCHED = "5.5.2653.23", "5.5.2654.29"


@pytest.mark.parametrize("reader_first", [True, False])
async def test_the_defective_build_jams_after_so_many_messages(reader_first: bool) -> None:
    async with Stage(DEFECTIVE) as stage:
        trap = arm(stage.server, "q279798", after=2)
        await stage.prepare_reader()
        assert await stage.can_read()
        for number in range(2):
            await stage.send(mail(f"message {number}"))
            assert await stage.delivered()
        reader = await stage.pop3()
        read = asyncio.ensure_future(reader.retrieve(1))
        stage._tasks.append(read)
        if reader_first:
            while "outbound" not in trap.held:
                await asyncio.sleep(0)
        await stage.send(mail("the one that jams"))
        async with asyncio.timeout(5):
            await trap.closed.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(stage.server.sections.cycles()) == 1
        assert stage.server.scheduler.hook == stage._count


async def test_the_patched_build_goes_on() -> None:
    async with Stage(PATCHED) as stage:
        trap = arm(stage.server, "q279798")
        inbox = stage.server.store.mailbox(OTHER).inbox
        put = asyncio.ensure_future(stage.server.converter.put(mail("x", to=OTHER), [Target(inbox)]))
        await stage.send(mail("held at the gate"))
        reader = None
        while "inbound" not in trap.held:
            await asyncio.sleep(0)
        stage._tasks.append(put)
        trap.disarm()
        assert await stage.delivered()
        assert await stage.answers(put)
        assert reader is None
        assert await stage.can_read()
        assert not stage.server.sections.cycles()


async def test_the_second_side_waits_for_the_first_one_where_there_is_one_order() -> None:
    async with Stage(PATCHED) as stage:
        await stage.prepare_reader()
        trap = arm(stage.server, "q279798")
        await stage.send(mail("held inside imail"))
        assert await stage.can_read(), "the reader waits for imail; that lets both go"
        assert trap.closed.is_set()
        assert await stage.delivered()


async def test_unknown_scenario() -> None:
    async with Stage(PATCHED) as stage:
        with pytest.raises(UnknownScenario):
            arm(stage.server, "q1")
