"""BODY[section]: which octets it names (RFC 3501 section 6.4.5, with the example of RFC 9051 section 6.4.5.1)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.imap.errors import Bad, No
from protocols.imap.sections import decode_part, find_part, parse_section
from protocols.mime.structure import parse

INNER = (
    b"Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
    b"--i\r\n\r\nin one\r\n--i\r\n\r\nin two\r\n--i--\r\n"
)
MESSAGE = (
    b"Subject: outer\r\nX-A: 1\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\npreamble\r\n"
    b"--o\r\nContent-Type: text/plain\r\n\r\nfirst\r\n"
    b"--o\r\nContent-Type: message/rfc822\r\n\r\n" + INNER + b"\r\n"
    b"--o\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--o--\r\n"
)
ROOT = parse(MESSAGE)


@pytest.mark.parametrize(
    ("section", "octets"),
    [
        (b"", MESSAGE),
        (b"HEADER.FIELDS (x-a)", b"X-A: 1\r\n\r\n"),
        (b"HEADER.FIELDS (none)", b"\r\n"),
        (b"HEADER.FIELDS.NOT (X-A Content-Type)", b"Subject: outer\r\n\r\n"),
        (b"1", b"first"),
        (b"1.MIME", b"Content-Type: text/plain\r\n\r\n"),
        (b"2.HEADER.FIELDS (Subject)", b"Subject: inner\r\n\r\n"),
        (b"2.1", b"in one"),
        (b"2.2", b"in two"),
        (b"2.1.MIME", b"\r\n"),
        (b"1.1", None),
        (b"1.HEADER", None),
        (b"2.3", None),
        (b"4", None),
        (b"2.1.1", None),
    ],
)
def test_what_a_section_names(section: bytes, octets: bytes | None) -> None:
    assert parse_section(section).cut(MESSAGE, ROOT) == octets


def test_header_and_text_are_the_whole() -> None:
    header = parse_section(b"HEADER").cut(MESSAGE, ROOT)
    text = parse_section(b"TEXT").cut(MESSAGE, ROOT)
    assert header is not None
    assert text is not None
    assert header + text == MESSAGE


def test_a_message_without_parts_is_its_own_part_one() -> None:
    octets = b"Subject: x\r\n\r\nbody\r\n"
    root = parse(octets)
    assert parse_section(b"1").cut(octets, root) == b"body\r\n"
    assert parse_section(b"1.MIME").cut(octets, root) == b"Subject: x\r\n\r\n"
    assert parse_section(b"2").cut(octets, root) is None


@pytest.mark.parametrize("text", [b"MIME", b"0", b"1.", b"FOO", b"HEADER.FIELDS", b"HEADER.FIELDS ()", b"1.2.TEXT.1"])
def test_what_is_no_section(text: bytes) -> None:
    with pytest.raises(Bad):
        parse_section(text)


def test_parts_are_decoded_or_refused() -> None:
    part = find_part(ROOT, (3,))
    assert part is not None
    assert decode_part(MESSAGE, part) == b"hi"
    strange = b"Content-Transfer-Encoding: x-strange\r\n\r\nx"
    with pytest.raises(No) as refusal:
        decode_part(strange, parse(strange))
    assert refusal.value.code == b"UNKNOWN-CTE"


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from([b"--o\r\n", b"--o--\r\n", b"Content-Type: message/rfc822\r\n\r\n", b"\r\n", b"text\r\n"]),
        max_size=12,
    ),
    st.lists(st.integers(1, 3), min_size=1, max_size=5),
    st.sampled_from([b"", b".MIME", b".TEXT", b".HEADER"]),
)
def test_any_section_of_any_message(lines: list[bytes], path: list[int], what: bytes) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=o\r\n\r\n" + b"".join(lines)
    found = parse_section(b".".join(b"%d" % number for number in path) + what).cut(octets, parse(octets))
    assert found is None or found in octets
