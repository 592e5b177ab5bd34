"""Scenarios as data."""

from __future__ import annotations

import dataclasses

import pytest

from harness.scenarios.q216259 import SCENARIO


def test_scenarios_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SCENARIO.name = "other"  # type: ignore[misc]


def test_a_scenario_may_need_settings() -> None:
    assert SCENARIO.settings["logons_max"] > 0
