"""Paths, parameters and xtext: never an unexpected exception, and what is accepted reads back."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.registry import SyntaxProblem
from protocols.smtp import parameters, xclient
from protocols.smtp.commands import lookup_argument, mail_arguments, rcpt_arguments
from protocols.smtp.extensions import auth_arguments, bdat_arguments
from protocols.smtp.grammar import Refusal, decode_xtext, encode_xtext, helo_name, is_domain, path
from protocols.smtp.trace import check_lines, date_time, received

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


NOW = parameters.Circumstances(1000, True, 1_700_000_000.0)
OFFERED = frozenset(extension for extension, _ in (*parameters.MAIL.values(), *parameters.RCPT.values())) | {
    "BINARYMIME"
}


@given(
    st.dictionaries(
        st.sampled_from([*parameters.MAIL, *parameters.RCPT]), st.none() | st.text(string.printable, max_size=30)
    )
)
def test_parameters_never_raise_anything_else(given_: dict[str, str | None]) -> None:
    with contextlib.suppress(Refusal):
        parameters.read({**parameters.MAIL, **parameters.RCPT}, given_, OFFERED, NOW)


def test_what_parameters_keep() -> None:
    kept = parameters.read(
        parameters.MAIL,
        {
            "SIZE": "10",
            "BODY": "8bitmime",
            "RET": "hdrs",
            "ENVID": "a+2Bb",
            "AUTH": "<>",
            "MT-PRIORITY": "-3",
            "HOLDUNTIL": "2023-11-14T22:13:25Z",
            "REQUIRETLS": None,
        },
        OFFERED,
        NOW,
    )
    assert kept == {
        "body": "8BITMIME",
        "ret": "HDRS",
        "envid": "a+b",
        "auth": "",
        "priority": -3,
        "hold_until": 1_700_000_005.0,
        "requiretls": True,
    }


@pytest.mark.parametrize(
    ("octets", "fine"),
    [
        (b"a\r\nb\r\n", True),
        (b"", True),
        (b"a\0b\r\n", True),
        (b"\0\r\n", True),
        (b"a\r\n\0.\r\n", False),
        (b"\0\0.\0\r\n", False),
        (b"a\n", False),
        (b"a\r", False),
        (b"\r\r\n", False),
        (b"\n\r\n", False),
        (b"\n\r", False),
    ],
)
def test_lines(octets: bytes, fine: bool) -> None:
    if fine:
        check_lines(octets, nul_allowed=False)
    else:
        with pytest.raises(Refusal):
            check_lines(octets, nul_allowed=False)


@given(st.text(max_size=30))
def test_what_is_taken_for_a_domain_is_fit_for_a_field(name: str) -> None:
    if is_domain(name):
        assert not set(name) & set(' \t\r\n()<>;"\\')


def test_the_trace_field() -> None:
    assert date_time(0) == b"Thu, 1 Jan 1970 00:00:00 +0000"
    assert received(b"Received: from x", "ID1", "a@b", 0).endswith(
        b"id ID1\r\n\tfor <a@b>; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
    )
    assert b"for" not in received(b"Received: x", "ID1", "", 0)
