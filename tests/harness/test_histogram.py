from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.histogram import Histogram

DURATIONS = st.lists(st.floats(1e-6, 1000), min_size=1, max_size=200)


def made(durations: list[float]) -> Histogram:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    return histogram


@given(DURATIONS, DURATIONS)
def test_merging_is_adding(first: list[float], second: list[float]) -> None:
    merged = made(first)
    merged.merge(Histogram.from_dict(json.loads(json.dumps(made(second).as_dict()))))
    assert merged.as_dict() == made(first + second).as_dict()


@given(DURATIONS, st.floats(0.01, 1))
def test_quantiles_are_right_to_nine_percent(durations: list[float], share: float) -> None:
    exact = sorted(durations)[max(0, -int(-share * len(durations) // 1) - 1)]
    assert exact * 0.999 <= made(durations).quantile(share) <= exact * 1.0906 or len(durations) == 1


@pytest.mark.parametrize(
    "values", [{}, {"counts": {"x": 1}, "longest": 1}, {"counts": {"999": 1}, "longest": 1}, {"counts": 3}]
)
def test_what_is_no_histogram(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not a histogram|bounds|invalid literal"):
        Histogram.from_dict(values)
