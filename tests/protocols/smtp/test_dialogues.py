"""SMTP and LMTP case by case; each case names its section."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.dialogue import Case, read_cases

DIALOGUES = Path(__file__).parent.parent.parent / "dialogues"
CASES = [*read_cases(DIALOGUES / "smtp"), *read_cases(DIALOGUES / "lmtp")]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_case(case: Case, dialogue) -> None:  # type: ignore[no-untyped-def]
    await dialogue(case)


def test_there_are_cases_enough() -> None:
    assert len(CASES) > 190
