"""protocols/mime/parameters.py"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mime.parameters import (
    decode_extended,
    decode_parameters,
    encode_parameter,
    join_sections,
    split_parameters,
    strip_comments,
)


def decode(value: bytes) -> dict[str, str]:
    return decode_parameters(join_sections(split_parameters(value)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"; charset=us-ascii (Plain text)", {"charset": "us-ascii"}),
        (b'; charset="us-ascii"', {"charset": "us-ascii"}),
        (b'; a="x;y\\"z" ;b = c', {"a": 'x;y"z', "b": "c"}),
        (b"; filename=my file.txt; size=1", {"filename": "my file.txt", "size": "1"}),
        (b'name="a" charset=b', {"name": "a", "charset": "b"}),
        (
            b"; access-type=mail-server\r\n\tserver=a@b; size=1",
            {"access-type": "mail-server", "server": "a@b", "size": "1"},
        ),
        (b'; name="never closed', {"name": "never closed"}),
        (b"; a=1; A=2", {"a": "1"}),
        (b"; ; ;a=1;;", {"a": "1"}),
        (b"; =x; a=1", {"a": "1"}),
        (b"; flag; a=1", {"a": "1"}),
        (b'; name="C:\\dir\\file"', {"name": "C:\\dir\\file"}),
        # RFC 2231 sections 3, 4 and 4.1
        (b'; url*0="ftp://"; url*1="cs.utk.edu/"', {"url": "ftp://cs.utk.edu/"}),
        (b"; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", {"title": "This is ***fun***"}),
        (
            b"; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20"
            b'; title*2="isn\'t it!"',
            {"title": "This is even more ***fun*** isn't it!"},
        ),
        (b"; n*1=b; n*0=a; n*3=d", {"n": "ab"}),
        (b"; n=plain; n*=utf-8''%C3%A9", {"n": "é"}),
        (b"; n*=utf-8''%C3%A9; n=plain", {"n": "é"}),
        (b"; n*=nonsense''%E9", {"n": "é"}),
        (b"; n*=%E9", {"n": "é"}),
        ("; n=é".encode(), {"n": "é"}),
        (b"; n=\xe9", {"n": "é"}),
    ],
)
def test_decode(value: bytes, expected: dict[str, str]) -> None:
    assert decode(value) == expected


def test_bodystructure_form_keeps_the_encoding() -> None:
    value = b"; n*0*=utf-8'de'%C3%A9; n*1=x%; m=1"
    assert join_sections(split_parameters(value)) == [(b"n*", b"utf-8'de'%C3%A9x%25"), (b"m", b"1")]
    # RFC 2231 section 7: a plain section that is joined to encoded ones has only attribute-chars
    assert join_sections([(b"n*0*", b"us-ascii'en'%2A"), (b"n*1", b"isn't it!")]) == [
        (b"n*", b"us-ascii'en'%2Aisn%27t%20it!")
    ]
    assert decode_extended(b"utf-8'de'%C3%A9x%25") == ("éx%", "de")


def test_limit() -> None:
    assert len(split_parameters(b"".join(b";a%d=1" % i for i in range(50)), parameters_max=10)) == 10


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a (b) c", b"a  c"),
        (b'"(a)" (b(c)d)e', b'"(a)" e'),
        (b"a (never closed", b"a "),
        (b"a \\( b", b"a \\( b"),
        (b"a ) b", b"a ) b"),
    ],
)
def test_strip_comments(value: bytes, expected: bytes) -> None:
    assert strip_comments(value) == expected


@settings(max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=150).map(lambda text: text.strip()))
def test_encode_then_decode(text: str) -> None:
    pieces = encode_parameter("filename", text)
    assert all(len(piece) <= 78 and piece.isascii() for piece in pieces)
    assert decode(b"; " + b";\r\n ".join(pieces)) == {"filename": text}


@settings(max_examples=200)
@given(st.text(alphabet="ab*0'%=;\"\\() \té", max_size=60).map(str.encode))
def test_never_raises(value: bytes) -> None:
    decode(value)
    strip_comments(value)
