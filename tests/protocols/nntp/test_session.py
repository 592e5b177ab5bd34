"""NNTP over real sockets: the case files, one or more for each section of the RFCs."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.dialogue import Case, read_cases

CASES = list(read_cases(Path(__file__).parents[2] / "dialogues" / "nntp"))


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_case(case: Case, dialogue) -> None:  # type: ignore[no-untyped-def]
    await dialogue(case)


def test_each_case_names_its_source() -> None:
    assert len(CASES) >= 100
    for case in CASES:
        assert case.title.endswith("]"), case
        assert "[RFC " in case.title or "[KB " in case.title, case
