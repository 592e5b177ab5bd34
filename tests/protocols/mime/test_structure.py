"""protocols/mime/structure.py: what Dovecot and RFC 2046 make of whole, odd and hostile messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mime import MimeLimits, Part, parse

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def tree(part: Part) -> Any:
    inner = [tree(child) for child in part.children] or ([tree(part.message)] if part.message else [])
    return (part.content_type, inner) if inner else part.content_type


def check_invariants(octets: bytes, root: Part) -> None:
    assert (root.start, root.end) == (0, len(octets))
    for part in root.walk():
        assert part.start <= part.body_start <= part.end
        position = part.body_start
        for child in part.children:
            assert position <= child.start
            assert child.end <= part.end
            position = child.end
        if part.message is not None:
            assert part.message.start == part.body_start
            assert part.message.end == part.end
        header = b"".join(b"".join(field) for field in part.headers.raw)
        assert header == root.octets[part.headers.start : part.headers.end]
        assert part.header.startswith(header)


def test_plain_message() -> None:
    octets = crlf("Subject: a\nContent-Type: Text/HTML; charset=utf-8\n\nbody\nmore\n")
    part = parse(octets)
    assert part.content_type == "text/html"
    assert part.params == {"charset": "utf-8"}
    assert part.encoding == "7bit"
    assert part.header == crlf("Subject: a\nContent-Type: Text/HTML; charset=utf-8\n\n")
    assert part.body == crlf("body\nmore\n")
    assert (part.size, part.lines) == (12, 2)


NESTED = crlf("""Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: text/plain
Content-ID: <a@b>
Content-Disposition: attachment; filename="x.txt"
Content-Language: en, de

one
--outer \t
Content-Type: multipart/alternative; boundary=outer-inner

--outer-inner

two

--outer-inner
Content-Type: text/html

three
--outer-inner--
inner epilogue
--outer-inner
--outer
Content-Type: message/rfc822

Subject: inside
Content-Type: multipart/mixed; boundary=deep

--deep

x
--deep--
--outer--
epilogue
""")


def test_nested_message_with_a_prefix_boundary() -> None:
    root = parse(NESTED)
    check_invariants(NESTED, root)
    # the line "--outer-inner" after the end of the inner multipart is a prefix match of the outer boundary
    assert tree(root) == (
        "multipart/mixed",
        [
            "text/plain",
            ("multipart/alternative", ["text/plain", "text/html"]),
            "text/plain",
            ("message/rfc822", [("multipart/mixed", ["text/plain"])]),
        ],
    )
    first = root.children[0]
    assert first.body == b"one"
    assert first.content_id == b"<a@b>"
    assert (first.disposition, first.disposition_params) == ("attachment", {"filename": "x.txt"})
    assert first.language == ["en", "de"]
    alternative = root.children[1]
    assert [child.body for child in alternative.children] == [b"two\r\n", b"three"]
    assert alternative.body.endswith(b"inner epilogue")
    message = root.children[3].message
    assert message is not None
    assert message.headers.get("SUBJECT") == b"inside"
    assert message.body == b"--deep\r\n\r\nx\r\n--deep--"


def test_missing_end_boundaries() -> None:
    octets = crlf("""Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/mixed; boundary=b

--b

inner
--a
Content-Type: text/x-last

last
""")
    root = parse(octets)
    check_invariants(octets, root)
    assert tree(root) == ("multipart/mixed", [("multipart/mixed", ["text/plain"]), "text/x-last"])
    assert root.children[0].children[0].body == b"inner"
    assert root.children[1].body == b"last\r\n"


def test_the_innermost_of_two_equal_boundaries_wins() -> None:
    octets = crlf("""Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/alternative; boundary=a

--a

inner
--a--
--a

outer
--a--
""")
    root = parse(octets)
    check_invariants(octets, root)
    assert tree(root) == ("multipart/mixed", [("multipart/alternative", ["text/plain"]), "text/plain"])


def test_a_boundary_ends_a_header() -> None:
    octets = crlf("""Content-Type: multipart/mixed; boundary=a

--a
Content-Type: text/html
--a
X: y

body
--a--
""")
    root = parse(octets)
    check_invariants(octets, root)
    assert [child.content_type for child in root.children] == ["text/html", "text/plain"]
    assert root.children[0].header == b"Content-Type: text/html"
    assert root.children[0].body == b""


def test_a_missing_blank_line_before_the_own_boundary() -> None:
    octets = crlf("""Subject: x
Content-Type: multipart/mixed; boundary=a
This is a multi-part message in MIME format.
--a
Content-Type: text/html

one
--a--
""")
    root = parse(octets)
    check_invariants(octets, root)
    assert tree(root) == ("multipart/mixed", ["text/html"])
    assert root.body.startswith(b"This is")


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("A: b\nno field here\n", "no field here\n"),
        ("A: b\nno field here\n\n", "no field here\n\n"),
        ("A: b\nno field here\n\nbody\n", "body\n"),
        ("no field here", "no field here"),
        ("From x\nA: b\n", ""),
    ],
)
def test_a_forgotten_blank_line(text: str, body: str) -> None:
    assert parse(crlf(text)).body == crlf(body)


def test_digest_children_are_messages() -> None:
    octets = crlf("""Content-Type: multipart/digest; boundary=a

--a

Subject: one

1
--a
Content-Type: text/plain

2
--a--
""")
    root = parse(octets)
    assert tree(root) == ("multipart/digest", [("message/rfc822", ["text/plain"]), "text/plain"])
    assert root.children[0].message is not None
    assert root.children[0].message.headers.get(b"subject") == b"one"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Content-Type: multipart/mixed", "multipart/mixed"),
        ('Content-Type: multipart/mixed; boundary=""', "multipart/mixed"),
        ("Content-Type: garbage", "text/plain"),
        ("Content-Type:", "text/plain"),
        ("Content-Type: text/plain>", "text/plain"),
        ("Content-Type: (comment) text (x) / (y) html (z)", "text/html"),
        ('Content-Type: application/pdf name="a;b.pdf"', "application/pdf"),
    ],
)
def test_odd_content_types(header: str, expected: str) -> None:
    part = parse(crlf(header + "\n\n--\nx\n"))
    assert part.content_type == expected
    assert part.children == ()


@pytest.mark.parametrize(
    "octets", [b"", b"\n", b"\r\n", b"\r\n\r\n", b"no header at all", b"A: b", b"A: b\r\n", b":", b"\x00\r\r\n--"]
)
def test_fragments(octets: bytes) -> None:
    check_invariants(octets, parse(octets))


def test_lf_only_lines() -> None:
    octets = NESTED.replace(b"\r\n", b"\n")
    root = parse(octets)
    check_invariants(octets, root)
    assert tree(root) == tree(parse(NESTED))
    assert root.children[0].body == b"one"


def test_limits_leave_the_rest_opaque() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d-\r\n\r\n--b%d-\r\n" % (i, i) for i in range(300))
    root = parse(deep)
    check_invariants(deep, root)
    assert len(root.walk()) == DEPTH + 1
    many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 500
    root = parse(many, MimeLimits(parts_max=50))
    check_invariants(many, root)
    assert len(root.children) == 49
    nested = b"Content-Type: message/rfc822\r\n\r\n" * 1000
    root = parse(nested)
    check_invariants(nested, root)


DEPTH = MimeLimits().depth_max

HOSTILE = {
    "boundaries": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * 100_000,
    "unclosed multiparts": b"Content-Type: multipart/mixed; boundary=b\n\n"
    + b"".join(b"--b\nContent-Type: multipart/mixed; boundary=c%d\n\n" % i for i in range(9_000)),
    "deep": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(8_000)),
    "prefixes": b"".join(
        b"Content-Type: multipart/mixed; boundary=%s\n\n--%s\n" % (b"a" * i, b"a" * i) for i in range(1, 99)
    )
    + b"--a\n" * 50_000,
    "dashes": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--" * 200_000,
    "lines": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"\n--" * 150_000,
    "fields": b"a:\n" * 150_000,
    "folds": b"a:\n" + b" \n" * 200_000,
    "one field": b"Content-Type: text/plain; " + b"a" * 400_000,
    "parameters": b"Content-Type: text/plain" + b"; a=b" * 80_000,
    "quotes": b'Content-Type: text/plain; a="' + b"\\" * 400_000,
    "comments": b"Content-Type: text/plain " + b"(" * 400_000,
    "semicolons": b"Content-Type: text/plain " + b"; " * 200_000,
    "spaces": b"Content-Type: " + b" " * 400_000 + b"x",
    "messages": b"Content-Type: message/rfc822\n\n" * 12_000,
    "garbage": b"x" * 400_000,
    "garbage lines": b"x y\n" * 100_000,
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_messages(name: str) -> None:
    octets = HOSTILE[name]
    root = parse(octets)
    for part in root.walk():
        _ = part.params, part.encoding, part.disposition_params, part.language
    check_invariants(octets, root)


@pytest.mark.parametrize("first", [b"From a@b Thu Nov 24 10:00:00 2026\r\n", b" From: folded\r\n", b""])
def test_a_missing_blank_line_behind_a_first_line_that_is_no_field(first: bytes) -> None:
    octets = first + (
        b"Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\npreamble\r\n--b\r\n\r\ntext\r\n--b--\r\n"
    )
    root = parse(octets)
    (child,) = root.children
    assert root.headers.get(b"subject") == b"s"
    assert child.body == b"text"


def test_lines_that_end_in_cr() -> None:
    octets = b"Subject: s\rContent-Type: multipart/mixed; boundary=b\r\r--b\r\rtext\rmore\r--b--\r"
    root = parse(octets)
    (child,) = root.children
    assert root.headers.get(b"subject") == b"s"
    assert octets[child.body_start : child.end] == b"text\rmore"
    assert child.body == b"text\nmore"


def test_corpus() -> None:
    if not CORPUS.is_dir():
        pytest.skip("needs ../shared/corpus")
    for path in sorted(CORPUS.glob("*/*.eml")):
        octets = path.read_bytes()
        check_invariants(octets, parse(octets))


ATOMS = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=a\r\n",
        b"Content-Type: multipart/mixed; boundary=ab\r\n",
        b"Content-Type: multipart/digest; boundary=b\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"--a",
        b"--ab",
        b"--b",
        b"--",
        b"x: y\r\n z\r\n",
        b"text",
        b"\x00\xff",
    ]
)


@settings(max_examples=150)
@given(st.lists(ATOMS, max_size=40).map(b"".join))
def test_any_mixture_keeps_the_invariants(octets: bytes) -> None:
    check_invariants(octets, parse(octets))
    check_invariants(octets, parse(octets, MimeLimits(depth_max=2, parts_max=4, header_fields_max=2)))


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_arbitrary_octets(octets: bytes) -> None:
    root = parse(octets)
    check_invariants(octets, root)
    _ = root.params, root.encoding, root.disposition, root.language, root.lines


def test_a_forgotten_first_semicolon() -> None:
    part = parse(b'Content-Type: multipart/mixed\r\n\tboundary="b"\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n')
    assert part.raw_params == [(b"boundary", b"b")]
    assert [child.body for child in part.children] == [b"x"]
    assert parse(b"Content-Disposition: attachment filename=x\r\n\r\n").disposition_params == {"filename": "x"}
