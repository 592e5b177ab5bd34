"""Q239082: the defect shows on real sockets, and the fixed build is well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from harness.scenarios.q239082 import SCENARIO, append
from harness.scenarios.scenario import Scenario
from harness.scenarios.stage import Stage


async def test_the_defect_shows(shows: Callable[[Scenario, str], Awaitable[None]]) -> None:
    await shows(SCENARIO, "under TLS")


async def test_the_fixed_build_is_well(is_well: Callable[[Scenario], Awaitable[None]]) -> None:
    await is_well(SCENARIO)


async def test_the_line_end_in_a_read_of_its_own_is_kept() -> None:
    async with Stage(SCENARIO.defective_build, **SCENARIO.settings) as stage:
        assert await append(stage, tls=True, together=False)
        assert await append(stage, tls=False, together=True)
