"""Arguments of POP3 commands, and what TOP shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.pop3_syntax import (
    apop_arguments,
    auth_arguments,
    language_argument,
    message_number,
    name_argument,
    optional_message_number,
    password_argument,
    top_arguments,
    top_of,
)
from protocols.registry import SyntaxProblem

PARSERS = [
    message_number,
    optional_message_number,
    top_arguments,
    name_argument,
    password_argument,
    apop_arguments,
    auth_arguments,
    language_argument,
]


@pytest.mark.parametrize("parser", PARSERS)
@given(st.binary(max_size=60) | st.from_regex(rb"[0-9a-fA-Z* =-]{0,50}", fullmatch=True))
def test_nothing_but_syntax_problems_is_raised(parser, rest: bytes) -> None:  # type: ignore[no-untyped-def]
    try:
        parser(rest)
    except SyntaxProblem:
        pass


@pytest.mark.parametrize(("rest", "number"), [(b"1", 1), (b" 12 ", 12), (b"007", 7), (b"0", 0)])
def test_numbers(rest: bytes, number: int) -> None:
    assert message_number(rest) == number
    assert optional_message_number(rest) == number


@pytest.mark.parametrize("rest", [b"", b"x", b"-1", b"+1", b"1 2", b"1" * 11, b"\xb2"])
def test_what_is_no_number(rest: bytes) -> None:
    with pytest.raises(SyntaxProblem):
        message_number(rest)


def test_words_of_other_commands() -> None:
    assert optional_message_number(b"  ") is None
    assert top_arguments(b"1 20") == (1, 20)
    assert name_argument("jürgen".encode()) == "jürgen"
    assert password_argument(b" two  words ") == " two  words "
    assert apop_arguments(b"two words " + b"A" * 32) == ("two words", b"a" * 32)
    assert auth_arguments(b"") is None
    assert auth_arguments(b"plain") == ("PLAIN", None)
    assert auth_arguments(b"PLAIN =") == ("PLAIN", b"=")
    assert language_argument(b"") is None
    assert language_argument(b"de-AT") == "de-AT"


MESSAGE = b"A: 1\r\nB: 2\r\n\r\none\r\n\r\nthree"


@pytest.mark.parametrize(
    ("octets", "lines", "shown"),
    [
        (MESSAGE, 0, b"A: 1\r\nB: 2\r\n\r\n"),
        (MESSAGE, 1, b"A: 1\r\nB: 2\r\n\r\none\r\n"),
        (MESSAGE, 2, b"A: 1\r\nB: 2\r\n\r\none\r\n\r\n"),
        (MESSAGE, 3, MESSAGE),
        (MESSAGE, 10**10, MESSAGE),
        (b"\r\nbody\r\n", 0, b"\r\n"),
        (b"no header end\r\n", 0, b"no header end\r\n"),
        (b"", 5, b""),
    ],
)
def test_top_of(octets: bytes, lines: int, shown: bytes) -> None:
    assert top_of(octets, lines) == shown


@given(st.binary(max_size=200), st.integers(0, 20))
def test_top_is_a_prefix_and_grows_with_its_lines(octets: bytes, lines: int) -> None:
    shown = top_of(octets, lines)
    assert octets.startswith(shown)
    assert top_of(octets, lines + 1).startswith(shown)
