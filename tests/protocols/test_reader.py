"""The cutter: bounded, CRLF only, one pass."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.reader import COMPACT_OCTETS, Buffer, InputTooLong, unstuff
from protocols.reply import stuff


def fed(*pieces: bytes) -> Buffer:
    buffer = Buffer()
    for piece in pieces:
        buffer.feed(piece)
    return buffer


def test_lines_end_at_crlf_only() -> None:
    buffer = fed(b"one\ntwo\rthree\r\nfour")
    assert buffer.line(100) == b"one\ntwo\rthree"
    assert buffer.line(100) is None
    buffer.feed(b"\r")
    assert buffer.line(100) is None
    buffer.feed(b"\n")
    assert buffer.line(100) == b"four"
    assert len(buffer) == 0


def test_quirk_bare_lf_ends_command_lines_but_not_blocks() -> None:
    buffer = Buffer(quirk_bare_lf=True)
    buffer.feed(b"NOOP\nQUIT\r\nbody\n.\nmore\r\n.\r\n")
    assert buffer.line(100) == b"NOOP"
    assert buffer.line(100) == b"QUIT"
    assert buffer.dot_block(100) == b"body\n.\nmore\r\n"


def test_an_overlong_line_is_skipped_whole() -> None:
    buffer = fed(b"x" * 1000)
    assert buffer.line(100) is None
    assert len(buffer) < 10
    buffer.feed(b"y" * 1000 + b"\r\nnext\r\n")
    with pytest.raises(InputTooLong):
        buffer.line(100)
    assert buffer.line(100) == b"next"


def test_the_limit_counts_the_line_end() -> None:
    assert fed(b"x" * 98 + b"\r\n").line(100) == b"x" * 98
    with pytest.raises(InputTooLong):
        fed(b"x" * 99 + b"\r\n").line(100)


def test_octets_are_exact() -> None:
    buffer = fed(b"abc")
    assert buffer.octets(4) is None
    buffer.feed(b"de")
    assert buffer.octets(4) == b"abcd"
    assert buffer.some(10) == b"e"


@pytest.mark.parametrize(
    ("wire", "block"),
    [
        (b".\r\n", b""),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
        (b"a\r\n.b\r\n.\r\n", b"a\r\nb\r\n"),
        (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n"),
        (b"a\r.\rb\r\n.\r\n", b"a\r.\rb\r\n"),
        (b"\r\n.\r\n", b"\r\n"),
    ],
)
def test_dot_blocks(wire: bytes, block: bytes) -> None:
    buffer = fed(wire + b"NEXT\r\n")
    assert buffer.dot_block(1000) == block
    assert buffer.line(100) == b"NEXT"


def test_an_overlong_block_is_skipped_whole() -> None:
    buffer = Buffer()
    for _ in range(100):
        buffer.feed(b"x" * 998 + b"\r\n")
        assert buffer.dot_block(10_000) is None
        assert len(buffer) < 12_000
    buffer.feed(b".\r\nNEXT\r\n")
    with pytest.raises(InputTooLong):
        buffer.dot_block(10_000)
    assert buffer.line(100) == b"NEXT"


def test_holds_only_sees_what_has_not_been_consumed() -> None:
    buffer = Buffer()
    buffer.feed(b"NOOP\r\nUTF8")
    assert not buffer.holds_only(b"UTF8")
    assert buffer.line(100) == b"NOOP"
    assert buffer.holds_only(b"UTF8")
    assert not buffer.holds_only(b"TF8")
    buffer.feed(b"\r")
    assert not buffer.holds_only(b"UTF8")


def test_clear_forgets_a_skip() -> None:
    buffer = fed(b"x" * 1000)
    assert buffer.line(100) is None
    buffer.clear()
    buffer.feed(b"ok\r\n")
    assert buffer.line(100) == b"ok"


def test_consumed_octets_are_dropped() -> None:
    buffer = fed(b"x" * 98 + b"\r\n")
    for _ in range(3 * COMPACT_OCTETS // 100):
        buffer.feed(b"y" * 98 + b"\r\n")
        assert buffer.line(100) is not None
    assert len(buffer._data) <= COMPACT_OCTETS + 200


def cuts(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(
    st.lists(st.binary(max_size=30).filter(lambda b: b"\r\n" not in b and not b.endswith(b"\r"))),
    st.lists(st.integers(0, 9999), max_size=8),
)
def test_lines_do_not_depend_on_how_the_octets_arrive(lines: list[bytes], places: list[int]) -> None:
    buffer, seen = Buffer(), []
    for piece in cuts(b"".join(line + b"\r\n" for line in lines), places):
        buffer.feed(piece)
        while (line := buffer.line(100)) is not None:
            seen.append(line)
    assert seen == lines


def bodies(octets_max: int) -> st.SearchStrategy[bytes]:
    """Octets in which no lone dot stands behind a lone LF: that one gets a second dot for good."""
    return st.binary(max_size=octets_max).filter(lambda octets: not re.search(rb"(?<!\r)\n\.(?=\r?\n|$)", octets))


@given(bodies(200), st.lists(st.integers(0, 9999), max_size=8))
def test_stuffed_blocks_come_out_as_they_went_in(octets: bytes, places: list[int]) -> None:
    body = stuff(octets + b"\r\n")
    buffer, seen = Buffer(), None
    for piece in cuts(body + b".\r\n", places):
        buffer.feed(piece)
        if seen is None:
            seen = buffer.dot_block(10_000)
    assert seen == octets + b"\r\n"


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.\r\n", b"x" * 50]), max_size=60))
def test_nothing_is_ever_held_beyond_the_limit(pieces: list[bytes]) -> None:
    buffer = Buffer()
    for piece in pieces:
        buffer.feed(piece)
        try:
            while buffer.dot_block(40) is not None:
                pass
        except InputTooLong:
            pass
        assert len(buffer) <= 40 + 5 + 50


@given(bodies(100))
def test_unstuff_undoes_stuff(octets: bytes) -> None:
    assert unstuff(stuff(octets + b"\r\n")) == octets + b"\r\n"
