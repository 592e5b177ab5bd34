from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.content import Content
from harness.http.search import moment, parse_query, size_in_octets
from harness.testing.archive import Entry
from harness.testing.view import MessageView

from .conftest import MIXED

VIEW = MessageView(MIXED, recipients=("alice", "dora@example.com"))
ENTRY = Entry(1, Content(b"d" * 20, len(MIXED)), 1_275_379_200.0)  # 2010-06-01 08:00 UTC


@pytest.mark.parametrize(
    "query",
    [
        "from:joerg",
        "FROM:Jörg",
        "to:alice to:bob@example.com",
        "cc:carol",
        "bcc:dora",
        "addressed:carol",
        'subject:"from the shop"',
        "message-id:one@",
        "has:attachment",
        "has:inline",
        "before:2010-06-02",
        "after:2010-06-01",
        'after:"2010-06-01 07:59"',
        "larger:500",
        "smaller:2k",
        "-smaller:100",
        "493817",
        "invoice.pdf",
        "-spam",
        "!from:bob",
        "from:joerg -has:nothing before:soon",
        "code 493817",
        '"your code"',
        "",
        "---",
    ],
)
def test_matches(query: str) -> None:
    assert parse_query(query)(ENTRY, VIEW)


@pytest.mark.parametrize(
    "query",
    [
        "from:bob",
        "-from:joerg",
        "to:carol",
        "subject:invoice",
        "-has:attachment",
        "is:tagged",
        "tag:x",
        "before:2010-05-31",
        "after:2010-06-02",
        "larger:1M",
        "spam",
        '"code your"',
        "from:joerg spam",
    ],
)
def test_does_not_match(query: str) -> None:
    assert not parse_query(query)(ENTRY, VIEW)


@pytest.mark.parametrize(("text", "octets"), [("2k", 2048), ("1.5 MB", 1572864), ("300", 300), ("x", 0), ("1g", 0)])
def test_sizes(text: str, octets: int) -> None:
    assert size_in_octets(text) == octets


@given(st.text(max_size=300))
def test_any_query_is_read(query: str) -> None:
    assert parse_query(query)(ENTRY, VIEW) in (True, False)


@given(st.text(max_size=40))
def test_any_date_is_read_or_none(text: str) -> None:
    found = moment(text, UTC)
    assert found is None or found.tzinfo is not None
