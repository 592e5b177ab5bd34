"""Outcomes as text and JSON."""

import json

from harness.report import outcome_json, outcome_lines, table
from harness.reproduce import run_once


def test_tables_are_aligned() -> None:
    assert table([("a", 1), ("long", 22)], ("x", "number")) == ["x     number", "----  ------", "a     1", "long  22"]
    assert table([], ("x",)) == ["x", "-"]


async def test_a_jam_in_words() -> None:
    outcome = await run_once("sp4", "smtp", "imap", look_closer=True)
    text = "\n".join(outcome_lines(outcome))
    assert "holds imail, waits for directory, held by imap-" in text
    assert "holds directory, waits for imail, held by inbound-" in text
    assert "alice FETCH 1 BODY.PEEK[]" in text
    assert "CriticalSection.enter" in text
    assert "Queued Inbound     1 →   6" in text
    assert "service stop did not end" in text
    found = json.loads(json.dumps(outcome_json(outcome)))
    assert found["verdict"] == "jammed"
    assert len(found["cycle"]) == 2
