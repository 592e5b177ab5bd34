"""Paths, parameters and xtext: never an unexpected exception, and what is accepted reads back."""

from __future__ import annotations

import contextlib
import string

from hypothesis import given
from hypothesis import strategies as st

from protocols.registry import SyntaxProblem
from protocols.smtp import xclient
from protocols.smtp.commands import lookup_argument, mail_arguments, rcpt_arguments
from protocols.smtp.extensions import auth_arguments, bdat_arguments
from protocols.smtp.grammar import decode_xtext, encode_xtext, helo_name, is_domain, path

ATOM = st.text(string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=20)
LOCAL = st.lists(ATOM, min_size=1, max_size=3).map(".".join) | st.text(
    string.ascii_letters + " @<>.,;:()[]", max_size=20
).map(lambda text: f'"{text}"')
LABEL = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join) | st.sampled_from(["[127.0.0.1]", "[IPv6:::1]"])
MAILBOX = st.builds(lambda local, domain: f"{local}@{domain}", LOCAL, DOMAIN)
PARSERS = (mail_arguments, rcpt_arguments, lookup_argument, auth_arguments, bdat_arguments, helo_name, xclient.parse)


@given(MAILBOX, st.binary(max_size=10))
def test_a_mailbox_reads_back(mailbox: str, rest: bytes) -> None:
    assert path(b"<" + mailbox.encode() + b">" + rest, "5.1.3") == (mailbox, rest)


@given(st.sampled_from(PARSERS), st.binary(max_size=80) | st.text(max_size=40).map(str.encode), st.booleans())
def test_parsers_raise_nothing_but_syntax_problems(parser, octets: bytes, prefixed: bool) -> None:  # type: ignore[no-untyped-def]
    with contextlib.suppress(SyntaxProblem):
        parser(b"FROM:<" + octets if prefixed else octets)


@given(st.text(string.printable.strip() + " ", max_size=60))
def test_xtext_reads_back(text: str) -> None:
    assert decode_xtext(encode_xtext(text)) == text


@given(st.text(max_size=40))
def test_xtext_never_raises(text: str) -> None:
    decode_xtext(text)


@given(st.text(max_size=30))
def test_what_is_taken_for_a_domain_is_fit_for_a_field(name: str) -> None:
    if is_domain(name):
        assert not set(name) & set(' \t\r\n()<>;"\\')
