"""Commands are cut whole and bounded before they are parsed; no input raises, whatever its pieces."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.imap.cutter import BrokenCommand, CommandCutter, CutterLimits, RawCommand
from protocols.reader import Buffer, InputTooLong

LIMITS = CutterLimits(200, 1000, 100, 500, skip_bytes_max=10_000)


def cut(octets: bytes, limits: CutterLimits = LIMITS) -> tuple[list[RawCommand | BrokenCommand], list[bytes]]:
    """All commands of the octets, and what was asked of the client."""
    buffer, cutter = Buffer(), CommandCutter(limits)
    asked: list[bytes] = []
    found: list[RawCommand | BrokenCommand] = []
    buffer.feed(octets)
    while (item := cutter.next(buffer, asked.append)) is not None:
        found.append(item)
    return found, asked


def test_a_line_is_a_command() -> None:
    assert cut(b"a1 noop\r\n")[0] == [RawCommand(b"a1", b"NOOP", ())]
    assert cut(b"a uid fetch 1 FLAGS\r\n")[0] == [RawCommand(b"a", b"UID FETCH", (b" 1 FLAGS",))]


def test_literals_stand_between_the_text() -> None:
    found, asked = cut(b"a LOGIN {5}\r\nalice {3+}\r\na\r\n\r\nb NOOP\r\n")
    assert found == [
        RawCommand(b"a", b"LOGIN", (b" ", (b"alice",), b" ", (b"a\r\n",))),
        RawCommand(b"b", b"NOOP", ()),
    ]
    assert len(asked) == 1


def test_a_synchronizing_literal_is_refused_without_being_read() -> None:
    found, asked = cut(b"a LOGIN {101}\r\nb NOOP\r\n")
    assert isinstance(found[0], BrokenCommand)
    assert found[0].condition == b"BAD"
    assert found[1] == RawCommand(b"b", b"NOOP", ())
    assert asked == []


def test_a_refused_non_synchronizing_literal_is_skipped() -> None:
    found, _ = cut(b"a APPEND x {501+}\r\n" + b"x" * 501 + b" {2+}\r\nyy\r\nb NOOP\r\n")
    assert isinstance(found[0], BrokenCommand)
    assert found[0].condition == b"NO"
    assert b"[TOOBIG]" in found[0].text
    assert found[1] == RawCommand(b"b", b"NOOP", ())


def test_an_absurd_literal_ends_the_connection() -> None:
    found, _ = cut(b"a APPEND x {99999999999999999999+}\r\n")
    assert isinstance(found[0], BrokenCommand)
    assert found[0].fatal


def test_literal_minus_bounds_what_comes_unasked() -> None:
    buffer, cutter = Buffer(), CommandCutter(LIMITS)
    cutter.non_synchronizing_max = 4
    buffer.feed(b"a LOGIN {5+}\r\nalice x\r\nb NOOP\r\n")
    first = cutter.next(buffer, lambda octets: None)
    assert isinstance(first, BrokenCommand)
    assert cutter.next(buffer, lambda octets: None) == RawCommand(b"b", b"NOOP", ())


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [
                b"a",
                b" ",
                b"LOGIN",
                b"{3}",
                b"{3+}",
                b"\r\n",
                b"~{1}",
                b'"',
                b"UID",
                b"\0",
                b"\xff",
                b"{9999}",
                b"(",
                b"x",
            ]
        ),
        max_size=60,
    ),
    st.integers(1, 7),
)
def test_no_input_raises_and_pieces_make_no_difference(parts: list[bytes], step: int) -> None:
    octets = b"".join(parts)

    def run(size: int) -> list[RawCommand | BrokenCommand | str]:
        buffer, cutter = Buffer(), CommandCutter(LIMITS)
        found: list[RawCommand | BrokenCommand | str] = []
        for start in range(0, len(octets), size):
            buffer.feed(octets[start : start + size])
            while True:
                try:
                    item = cutter.next(buffer, lambda octets: None)
                except InputTooLong:
                    found.append("too long")
                    continue
                if item is None:
                    break
                found.append(item)
        return found

    assert run(step) == run(max(len(octets), 1))
