"""Q155036: the defect shows on real sockets, and the fixed build is well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from harness.scenarios.q155036 import SCENARIO
from harness.scenarios.scenario import Scenario


async def test_the_defect_shows(shows: Callable[[Scenario, str], Awaitable[None]]) -> None:
    await shows(SCENARIO, "rewinds")


async def test_the_fixed_build_is_well(is_well: Callable[[Scenario], Awaitable[None]]) -> None:
    await is_well(SCENARIO)
