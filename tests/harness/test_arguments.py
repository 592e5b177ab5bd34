"""Numbers on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest

from harness.arguments import duration, how_many, how_many_or_none


def test_what_can_be_meant() -> None:
    assert how_many("3") == 3
    assert how_many_or_none("0") == 0
    assert duration("0.5") == 0.5


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((how_many, text) for text in ("0", "-1", "x", "", "1.5", "9" * 30, "²")),
        *((how_many_or_none, text) for text in ("-1", "x", "9" * 30)),
        *((duration, text) for text in ("0", "-1", "x", "", "nan", "inf")),
    ],
)
def test_what_cannot(kind: Callable[[str], Any], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        kind(text)
