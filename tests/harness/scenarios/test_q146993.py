"""Q146993: the defect shows on real sockets, and the fixed build is well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from emulator.builds import DEFAULT_BUILD
from harness.scenarios.q146993 import PLAIN, SCENARIO, relayed
from harness.scenarios.scenario import Scenario
from harness.scenarios.stage import Stage


async def test_the_defect_shows(shows: Callable[[Scenario, str], Awaitable[None]]) -> None:
    await shows(SCENARIO, "0 of 3")


async def test_the_fixed_build_is_well(is_well: Callable[[Scenario], Awaitable[None]]) -> None:
    await is_well(SCENARIO)


async def test_a_plain_message_alone_leaves_with_the_defect_too() -> None:
    async with Stage(DEFAULT_BUILD, frozenset({SCENARIO.defect}), **SCENARIO.settings) as stage:
        assert stage.smarthost is not None
        assert await relayed(stage, stage.smarthost, [PLAIN]) == 1
