"""THREAD and base subjects (RFC 5256)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.imap.records import SortRecord, base_subject
from protocols.imap.thread import Steps, by_references, by_subject, format_threads


@pytest.mark.parametrize(
    ("subject", "base", "is_reply"),
    [
        ("Hello", "Hello", False),
        ("Re: Hello", "Hello", True),
        ("re [3]:  Fwd: Hello (fwd) (FWD)", "Hello", True),
        ("[list] Hello", "Hello", False),
        ("[list] Re: [list] Hello", "Hello", True),
        ("[Fwd: Re: Hello]", "Hello", True),
        ("[only]", "[only]", False),
        ("Re:", "", True),
        ("a\t b", "a b", False),
    ],
)
def test_base_subject(subject: str, base: str, is_reply: bool) -> None:
    assert base_subject(subject) == (base, is_reply)


@settings(max_examples=200)
@given(st.text("re:[]fwd() a", max_size=60))
def test_base_subject_of_anything(subject: str) -> None:
    base, _ = base_subject(subject)
    assert len(base) <= len(subject)


def item(number: int, own: str, references: str = "", subject: str = "", *, reply: bool = False) -> Any:
    record = SortRecord(
        float(number), subject, reply, "", "", "", "", "", own.encode(), tuple(r.encode() for r in references.split())
    )
    return number, SimpleNamespace(uid=number * 10, internal_date=float(number)), record


def finished(steps: Steps) -> bytes:
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return format_threads(end.value)


def threads(*items: Any) -> bytes:
    return finished(by_references(items, False))


def test_references_make_threads() -> None:
    assert threads(item(1, "<a>"), item(2, "<b>", "<a>"), item(3, "<c>", "<a> <b>")) == b"(1 2 3)"
    assert threads(item(1, "<a>"), item(2, "<b>", "<a>"), item(3, "<c>", "<a>")) == b"(1 (2)(3))"


def test_a_missing_parent_holds_its_children_together() -> None:
    assert threads(item(1, "<b>", "<a>"), item(2, "<c>", "<a>")) == b"((1)(2))"
    assert threads(item(1, "<b>", "<a>")) == b"(1)"


def test_loops_and_doubles_do_no_harm() -> None:
    assert threads(item(1, "<a>", "<b>"), item(2, "<b>", "<a>")) in (b"(1 2)", b"(2 1)")
    assert threads(item(1, "<a>"), item(2, "<a>"), item(3, "<a>", "<a>")).count(b"3") == 1


def test_references_that_contradict_each_other() -> None:
    """The first link between two messages stays (RFC 5256 section 3, step 1)."""
    a, b, c = item(1, "<a>"), item(2, "<b>", "<c> <a>"), item(3, "<c>", "<b>")
    assert threads(a, b, c) == b"(3 1 2)"
    assert threads(b, c) == b"(3 2)"


def test_subjects_join_threads() -> None:
    assert threads(item(1, "<a>", subject="x"), item(2, "<b>", subject="x", reply=True)) == b"(1 2)"
    assert threads(item(1, "<a>", subject="x"), item(2, "<b>", subject="x")) == b"((1)(2))"


def test_ordered_subject() -> None:
    items = [
        item(1, "<a>", subject="x"),
        item(2, "<b>", subject="y"),
        item(3, "<c>", subject="x"),
        item(4, "<d>", subject="x"),
    ]
    assert finished(by_subject(items, False)) == b"(1 (3)(4))(2)"


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.text("abcdefgh", max_size=4), st.sampled_from(["", "x", "y"])),
        max_size=12,
    )
)
def test_each_message_is_in_one_thread(messages: list[tuple[str, str, str]]) -> None:
    items = [
        item(number, f"<{own}>", " ".join(f"<{r}>" for r in references), subject, reply=number % 2 == 0)
        for number, (own, references, subject) in enumerate(messages, 1)
    ]
    text = threads(*items).decode()
    found = sorted(int(word) for word in text.replace("(", " ").replace(")", " ").split())
    assert found == list(range(1, len(items) + 1))


def test_a_very_long_chain() -> None:
    items = [item(n, f"<{n}>", f"<{n - 1}>" if n > 1 else "") for n in range(1, 3000)]
    assert threads(*items).startswith(b"(1 2 3 4")
