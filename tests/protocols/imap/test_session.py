"""The IMAP front-end: the dialogues of tests/dialogues/imap, each against a server of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from harness.dialogue import Case, read_cases

CASES = list(read_cases(Path(__file__).parents[2] / "dialogues" / "imap"))


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_dialogue(case: Case, dialogue: Callable[[Case], Awaitable[None]]) -> None:
    await dialogue(case)
