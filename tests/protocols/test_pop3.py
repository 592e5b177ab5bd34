"""POP3 over real sockets: the case files, and what a C:/S: file cannot say."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.dialogue import Case, read_cases

CASES = list(read_cases(Path(__file__).parent.parent / "dialogues" / "pop3"))


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_case(case: Case, dialogue) -> None:  # type: ignore[no-untyped-def]
    await dialogue(case)


def test_each_case_names_its_source() -> None:
    assert len(CASES) >= 60
    for case in CASES:
        assert case.title.endswith("]"), case
        assert "[RFC " in case.title or "[KB " in case.title or "[draft-" in case.title, case
