"""Schedules as tokens."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.exploration import Schedule, TokenError, brute_force
from harness.exploration.samples import two_locks

orders = st.lists(st.integers(0, 300), max_size=60).map(tuple)


@given(orders, st.text(max_size=40), st.integers(0, 0xFFFF))
def test_parse_is_the_inverse_of_token(order: tuple[int, ...], label: str, mark: int) -> None:
    schedule = Schedule(order, label, mark)
    assert Schedule.parse(schedule.token) == schedule
    assert Schedule.parse(f"  {schedule.token.upper()}\n") == schedule


@given(st.text(max_size=60))
def test_parse_raises_nothing_but_token_error(text: str) -> None:
    for candidate in (text, "mj1-" + text):
        with contextlib.suppress(TokenError):
            Schedule.parse(candidate)


@given(orders, st.integers(0, 10_000))
def test_a_changed_letter_is_noticed(order: tuple[int, ...], position: int) -> None:
    token = Schedule(order).token
    index = 4 + position % (len(token) - 4)
    other = "z" if token[index] != "z" else "y"
    with pytest.raises(TokenError):
        Schedule.parse(token[:index] + other + token[index + 1 :])


def test_a_jam_has_a_short_token() -> None:
    found = next(outcome for outcome in brute_force(two_locks) if outcome.kind == "jam")
    schedule = Schedule.of(found)
    assert schedule.context_switches == 1
    assert schedule.runs == [(0, 1), (1, 1)]
    assert len(schedule.token) < 30


def test_limits_of_tokens() -> None:
    with pytest.raises(ValueError, match="255 octets"):
        _ = Schedule((), "x" * 256).token
    huge = Schedule((0,) * 10, "").token
    assert Schedule.parse(huge).order == (0,) * 10
    with pytest.raises(TokenError, match="starts with mj1-"):
        Schedule.parse("mj2-00")
