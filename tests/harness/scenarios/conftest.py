"""What every scenario's test says: the defect shows on real sockets, and the fixed build is well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from emulator.builds import DEFAULT_BUILD
from harness.matrix import FREE, JAMS, observe
from harness.scenarios.scenario import Scenario


@pytest.fixture(scope="session")
def shows() -> Callable[[Scenario, str], Awaitable[None]]:
    """`await shows(SCENARIO, text)`: the defective build, or the defect by name, jams, and the detail has the text."""

    async def check(scenario: Scenario, text: str) -> None:
        defects = frozenset[str]() if scenario.defective_build else frozenset({scenario.defect})
        cell = await observe(scenario, scenario.defective_build or DEFAULT_BUILD, defects)
        assert (cell.expected, cell.observed) == (JAMS, JAMS)
        assert text in cell.detail

    return check


@pytest.fixture(scope="session")
def is_well() -> Callable[[Scenario], Awaitable[None]]:
    """`await is_well(SCENARIO)`: the patched build neither jams nor has anything to tell."""

    async def check(scenario: Scenario) -> None:
        cell = await observe(scenario, scenario.patched_build)
        assert (cell.expected, cell.observed, cell.detail) == (FREE, FREE, "")

    return check
