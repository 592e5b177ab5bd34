from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.faults.shaping import Corruption, Shaper, Truncation, body_start, split_responses, without_untagged
from harness.testing.clock import AdvancingClock

FETCH = b"* 1 FETCH (BODY[] {5}\r\nhello)\r\n* 2 EXISTS\r\na OK done\r\n"


class Connection:
    """Keeps what is emitted."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.filter: object = None
        self.closed = False

    def emit(self, octets: bytes) -> None:
        self.sent.append(octets)

    def close(self) -> None:
        self.closed = True


def test_responses_keep_their_literals() -> None:
    assert split_responses(FETCH) == [b"* 1 FETCH (BODY[] {5}\r\nhello)\r\n", b"* 2 EXISTS\r\n", b"a OK done\r\n"]
    assert without_untagged("* EXISTS")(FETCH) == FETCH.replace(b"* 2 EXISTS\r\n", b"")


@given(st.binary(max_size=300))
def test_splitting_loses_nothing(octets: bytes) -> None:
    assert b"".join(split_responses(octets)) == octets


@pytest.mark.parametrize(("reply", "start"), [(FETCH, 23), (b"+OK\r\nbody\r\n.\r\n", 5), (b"250 OK\r\n", 0), (b"", 0)])
def test_where_the_body_begins(reply: bytes, start: int) -> None:
    assert body_start(reply) == start


@given(st.binary(max_size=200), st.integers(0, 50), st.integers(1, 7))
def test_truncation_is_a_prefix_however_it_is_cut(octets: bytes, keep: int, step: int) -> None:
    cut = Truncation(keep, lambda: None)
    got = cut(octets[:100]) + b"".join(cut(octets[at : at + step]) for at in range(100, len(octets), step))
    assert octets.startswith(got)


@given(st.binary(min_size=1, max_size=200), st.integers(1, 5), st.integers(0, 99))
def test_corruption_keeps_length_and_line_ends(octets: bytes, count: int, seed: int) -> None:
    got = Corruption(count, seed)(octets)
    assert len(got) == len(octets)
    assert all(new == old for new, old in zip(got, octets, strict=True) if not chr(old).isalnum())
    assert got == Corruption(count, seed)(octets)


async def test_steps_and_leaving() -> None:
    connection, clock = Connection(), AdvancingClock()
    shaper = Shaper(connection, clock)
    connection.filter = shaper
    shaper.step_octets, shaper.step_seconds = 2, 1.0
    shaper.write(b"abcde")
    shaper.finish()
    assert connection.sent == [b"ab"]
    shaper.close_when_idle()
    await clock.advance(3)
    assert connection.sent == [b"ab", b"cd", b"e"]
    assert connection.filter is None
    assert connection.closed


def test_go_ahead_is_never_shaped() -> None:
    connection = Connection()
    shaper = Shaper(connection, AdvancingClock())
    shaper.transforms.append(lambda octets: b"")
    for octets in (b"354 go on\r\n", b"+ OK\r\n", b"250 done\r\n"):
        shaper.write(octets)
    assert connection.sent == [b"354 go on\r\n", b"+ OK\r\n"]
