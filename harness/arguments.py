"""Types of numbers on the command line; what cannot be meant is refused with a line that says what can."""

from __future__ import annotations

import argparse
import math


def how_many(text: str) -> int:
    """1 or more. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 63):
        raise argparse.ArgumentTypeError("a count of 1 or more")
    return int(text)


def how_many_or_none(text: str) -> int:
    """0 or more. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 63):
        raise argparse.ArgumentTypeError("a count of 0 or more")
    return int(text)


def duration(text: str) -> float:
    """More than 0. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value
