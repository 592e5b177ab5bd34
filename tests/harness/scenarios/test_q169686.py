"""Q169686: the defect shows on real sockets, and the fixed build is well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from emulator.builds import DEFAULT_BUILD
from harness.scenarios.q169686 import SCENARIO, THREADS, read_slowly
from harness.scenarios.scenario import Scenario
from harness.scenarios.stage import Stage, mail


async def test_the_defect_shows(shows: Callable[[Scenario, str], Awaitable[None]]) -> None:
    await shows(SCENARIO, "slow readers")


async def test_the_fixed_build_is_well(is_well: Callable[[Scenario], Awaitable[None]]) -> None:
    await is_well(SCENARIO)


async def test_a_thread_that_is_left_is_enough() -> None:
    async with Stage(DEFAULT_BUILD, frozenset({SCENARIO.defect}), **SCENARIO.settings) as stage:
        await stage.prepare_reader()
        readers = await read_slowly(stage, THREADS - 1)
        await stage.send(mail("in time"))
        assert await stage.delivered()
        assert await stage.can_read()
        assert stage.stopped() == []
        for client in readers:
            client.writer.transport.abort()


async def test_threads_come_back_with_the_readers() -> None:
    async with Stage(DEFAULT_BUILD, frozenset({SCENARIO.defect}), **SCENARIO.settings) as stage:
        await stage.prepare_reader()
        readers = await read_slowly(stage, THREADS)
        assert not await stage.can_read()
        for client in readers:
            client.writer.transport.abort()
        pool = stage.server.pools["store"]
        assert await stage.until(lambda: not pool.busy)
        assert await stage.can_read()
