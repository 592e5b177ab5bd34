"""Batches of UIDs (RFC 10022): they part the mailbox, the newest messages first."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.imap.batches import batches

UIDS = [uid for uid in range(1, 51) if uid not in (1, 14, 15, 16, 17, 41, 43, 45)]


def test_the_newest_batch_comes_first_and_the_last_one_may_be_smaller() -> None:
    assert list(batches(UIDS, 10, None)) == [(50, 38), (37, 28), (27, 18), (17, 4), (3, 1)]
    assert list(batches(UIDS, 100, None)) == [(50, 1)]


def test_some_of_the_batches() -> None:
    assert list(batches(UIDS, 10, (2, 3))) == [(37, 28), (27, 18)]
    assert list(batches(UIDS, 10, (5, 900))) == [(3, 1)]
    assert list(batches(UIDS, 10, (6, 9))) == []
    assert list(batches([], 10, None)) == []
    assert list(batches([7], 10, None)) == [(7, 1)]


@settings(max_examples=60)
@given(st.sets(st.integers(1, 300), min_size=1), st.integers(1, 40), st.integers(1, 12), st.integers(0, 12))
def test_no_uid_is_left_out_and_batches_are_full(chosen: set[int], size: int, first: int, more: int) -> None:
    uids = sorted(chosen)
    whole = list(batches(uids, size, None))
    assert whole[0][0] == uids[-1]
    assert whole[-1][1] == 1
    assert all(newer[1] == older[0] + 1 for newer, older in pairwise(whole))
    held = [sum(low <= uid <= high for uid in uids) for high, low in whole]
    assert held[:-1] == [size] * (len(whole) - 1)
    assert 1 <= held[-1] <= size
    assert list(batches(uids, size, (first, first + more))) == whole[first - 1 : first + more]
