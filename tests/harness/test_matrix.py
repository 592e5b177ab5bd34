"""Builds × scenarios: what the articles say and what is seen."""

from __future__ import annotations

import pytest

from emulator.builds import DEFAULT_BUILD, find_build
from emulator.defects import DEFECTS, LOCK_ORDER
from harness.matrix import FREE, JAMS, Cell, all_scenarios, matrix_lines, observe
from harness.scenarios import stage as stage_module

KNOWN = all_scenarios()


@pytest.fixture(autouse=True)
def _less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "PATIENCE_SECONDS", 0.5)


def test_each_defect_has_its_scenario_and_each_scenario_its_data() -> None:
    assert {scenario.defect for scenario in KNOWN.values()} == {defect.name for defect in DEFECTS}
    for scenario in KNOWN.values():
        assert scenario.trigger
        assert scenario.symptoms
        if scenario.defective_build:
            assert scenario.defect in find_build(scenario.defective_build).defects
        assert scenario.defect not in find_build(scenario.patched_build).defects


def test_the_last_build_has_no_defect() -> None:
    assert not find_build(DEFAULT_BUILD).defects


@pytest.mark.parametrize("name", sorted(LOCK_ORDER))
async def test_a_defect_by_flag(name: str) -> None:
    scenario = next(each for each in KNOWN.values() if each.defect == name)
    cell = await observe(scenario, DEFAULT_BUILD, frozenset({name}))
    assert cell.observed == JAMS


def test_the_table_marks_what_is_not_as_expected() -> None:
    cells = [
        Cell("q279798", "5.5.2653.23", frozenset(), JAMS, JAMS),
        Cell("q279798", "5.5.2654.29", frozenset(), FREE, JAMS, "why"),
    ]
    lines = matrix_lines(cells, ["q279798"])
    assert any("jams ! (free)" in line for line in lines)
    assert lines[-1] == "1 of 2 as the articles say"
