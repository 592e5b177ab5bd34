"""Scenarios as values: their labels stand in every token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.participants import KINDS
from harness.scenario import ARTICLES, Scenario, UnknownScenario, check_participation, find_article


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6), st.sets(st.sampled_from(["A", "B", "C"])))
def test_label_and_parse_are_inverse(kinds: list[str], defects: set[str]) -> None:
    scenario = Scenario("5.5.2655.37", tuple(kinds), frozenset(defects))
    assert Scenario.parse(scenario.label) == scenario


@given(st.text(max_size=60))
def test_parse_never_raises_anything_else(text: str) -> None:
    try:
        Scenario.parse(text)
    except UnknownScenario:
        pass


def test_articles() -> None:
    assert find_article("Q279798") is ARTICLES["q279798"]
    assert len(ARTICLES["q279798"].pairs) == 12
    with pytest.raises(UnknownScenario):
        find_article("q1")


def test_a_hollow_exploration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario("5.5.2655.37", ("put",))

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setitem(__import__("harness.participants", fromlist=["_JOIN"])._JOIN, "put", nothing)
    with pytest.raises(RuntimeError, match="never took the inbound path"):
        check_participation(scenario)
