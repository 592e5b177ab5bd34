"""Q282115: the defect shows on real sockets, and the fixed build is well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from emulator.builds import DEFAULT_BUILD
from harness.scenarios.q282115 import SCENARIO, exchange
from harness.scenarios.scenario import Scenario
from harness.scenarios.stage import Stage


async def test_the_defect_shows(shows: Callable[[Scenario, str], Awaitable[None]]) -> None:
    await shows(SCENARIO, "0 of 5")


async def test_the_fixed_build_is_well(is_well: Callable[[Scenario], Awaitable[None]]) -> None:
    await is_well(SCENARIO)


async def test_four_connectors_work_with_the_defect_too() -> None:
    async with Stage(DEFAULT_BUILD, frozenset({SCENARIO.defect})) as stage:
        assert await exchange(stage, 4) == (4, 4)
