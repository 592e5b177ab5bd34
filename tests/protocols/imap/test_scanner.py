"""The scanner of arguments: every method gives what stands there or raises Bad, for any octets."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.imap.append import append_syntax
from protocols.imap.errors import Bad, No
from protocols.imap.fetch import fetch_syntax
from protocols.imap.listing import list_syntax
from protocols.imap.messages import store_syntax
from protocols.imap.metadata import get_syntax
from protocols.imap.names import quote
from protocols.imap.notify import notify_syntax
from protocols.imap.scanner import Scanner
from protocols.imap.search import search_syntax
from protocols.registry import SyntaxProblem


def test_strings_in_all_forms() -> None:
    scanner = Scanner((b' atom "quo\\"ted" ', (b"lit\r\neral",), b" NIL"))
    scanner.space()
    assert scanner.astring() == b"atom"
    scanner.space()
    assert scanner.astring() == b'quo"ted'
    scanner.space()
    assert scanner.astring() == b"lit\r\neral"
    scanner.space()
    assert scanner.nstring() is None
    scanner.end()


@pytest.mark.parametrize("text", [b'"open', b'"bad \\escape"', b'"\xff"', b"", b"(", b"{3}"])
def test_what_is_no_string(text: bytes) -> None:
    with pytest.raises(Bad):
        Scanner((text,)).astring()


@settings(max_examples=150)
@given(st.binary(max_size=40).filter(lambda octets: b"\0" not in octets))
def test_quoting_and_reading_give_the_same(octets: bytes) -> None:
    quoted = quote(octets)
    pieces = ((octets,),) if quoted.startswith(b"{") else (quoted,)
    scanner = Scanner(pieces)
    assert scanner.string() == octets
    scanner.end()


WORDS = st.sampled_from(
    [
        b" ",
        b"(",
        b")",
        b"1:*",
        b"$",
        b"FLAGS",
        b"BODY[",
        b"]",
        b"<0.1>",
        b'"x"',
        b"RETURN",
        b"ALL",
        b"NOT",
        b"OR",
        b"INBOX",
        b"+FLAGS",
        b"\\Seen",
        b"CHARSET",
        b"UTF-8",
        b"SET",
        b"personal",
        b"HEADER.FIELDS",
        b"\xc3",
        b"*",
        b"%",
        b"MIN",
        b",",
        b"CATENATE",
        b"TEXT",
        b"UNCHANGEDSINCE",
        b"9",
        b"99999999999999999999",
        b"/private/x",
        b"MessageNew",
        b"STATUS",
    ]
)
PIECES = st.lists(st.one_of(st.lists(WORDS, max_size=12).map(b"".join), st.tuples(st.binary(max_size=5))), max_size=4)


@settings(max_examples=300)
@given(PIECES)
def test_no_arguments_raise_anything_but_refusals(pieces: list[bytes | tuple[bytes]]) -> None:
    for syntax in (append_syntax, fetch_syntax, list_syntax, store_syntax, get_syntax, notify_syntax, search_syntax):
        with contextlib.suppress(SyntaxProblem, No):
            syntax(Scanner(tuple(pieces)))
