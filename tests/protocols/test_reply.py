"""Reply values."""

from hypothesis import given
from hypothesis import strategies as st

from protocols.reply import block, line_block, one_line, stuff


def test_stuffing_touches_lines_that_begin_with_a_dot() -> None:
    assert stuff(b".a\r\nb\r\n.\r\n") == b"..a\r\nb\r\n..\r\n"
    assert stuff(b"a\n.b") == b"a\n.b\r\n"
    assert stuff(b"") == b""


def test_no_reader_takes_a_lone_dot_between_lone_lfs_for_the_end() -> None:
    assert stuff(b"a\n.\n.\nb\n.\r\n\r\n.\r\n") == b"a\n..\n..\nb\n..\r\n\r\n..\r\n"
    assert stuff(b"a\n.") == b"a\n..\r\n"
    assert stuff(b".\nb\n..\n") == b"..\nb\n..\n\r\n"


def test_a_body_without_dots_is_not_copied() -> None:
    octets = b"x" * 1000 + b"\r\n"
    assert stuff(octets) is octets
    assert block(b"+OK", octets) == (b"+OK", b"\r\n", octets, b".\r\n")


def test_line_blocks() -> None:
    assert line_block(b"101 list", [b"a", b".b"]) == b"101 list\r\na\r\n..b\r\n.\r\n"
    assert line_block(b"101 list", []) == b"101 list\r\n.\r\n"


@given(st.text(max_size=600))
def test_free_text_cannot_leave_its_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 450
    assert not any(octet < 32 or octet == 127 for octet in line)
