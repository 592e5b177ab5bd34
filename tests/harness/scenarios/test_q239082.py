"""Q239082: the defect shows on real sockets, and the fixed build is well."""

from __future__ import annotations

from emulator.builds import DEFAULT_BUILD
from harness.matrix import FREE, JAMS, observe
from harness.scenarios.q239082 import SCENARIO, append
from harness.scenarios.stage import Stage


async def test_the_defect_shows() -> None:
    defects = frozenset[str]() if SCENARIO.defective_build else frozenset({SCENARIO.defect})
    cell = await observe(SCENARIO, SCENARIO.defective_build or DEFAULT_BUILD, defects)
    assert (cell.expected, cell.observed) == (JAMS, JAMS)
    assert "under TLS" in cell.detail


async def test_the_fixed_build_is_well() -> None:
    cell = await observe(SCENARIO, SCENARIO.patched_build)
    assert (cell.expected, cell.observed, cell.detail) == (FREE, FREE, "")


async def test_the_line_end_in_a_read_of_its_own_is_kept() -> None:
    async with Stage(SCENARIO.defective_build, **SCENARIO.settings) as stage:
        assert await append(stage, tls=True, together=False)
        assert await append(stage, tls=False, together=True)
