"""The page about a jam: drawings that are well-formed, and nothing loaded from elsewhere."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from harness import page
from harness.explain import Standstill, default_schedule, standstill


@pytest.fixture(scope="module")
def still() -> Standstill:
    return standstill(*default_schedule())


def test_pages_and_graphs_are_well_formed(still: Standstill) -> None:
    assert ET.fromstring(page.graph_svg(still.state, use_graphviz=False)).tag.endswith("svg")
    assert ET.fromstring(page.timeline_svg(still)).tag.endswith("svg")
    assert page.dot_text(still.state).count("->") == 4
    text = page.html(still)
    assert text.startswith("<!doctype html>")
    assert "the cycle closes" in text
    assert "<script" not in text
    assert "src=" not in text.replace("xmlns=", "")


def test_peers_strings_are_escaped(still: Standstill) -> None:
    state: dict[str, Any] = json.loads(json.dumps(still.state))
    state["actors"][0]["words"] = state["actors"][0]["user"] = '<b>"&'
    assert "<b>" not in page.graph_svg(state, use_graphviz=False)
    assert '\\"' in page.dot_text(state)


def test_steps_are_told_in_words() -> None:
    assert page.step_in_words("pop3.request") == "its client asks (pop3)"
    assert page.step_in_words("outbound.directory.wanted") == "enters directory on the path outbound"
    assert page.step_in_words("inbound.imail.leaving") == "leaves imail on the path inbound"
    assert page.step_in_words("something") == ""
