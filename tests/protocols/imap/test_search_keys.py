"""protocols/imap/search_keys.py: the fast way decides as the slow way does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.imap.records import SearchRecord
from protocols.imap.scanner import Scanner
from protocols.imap.search_keys import KeyReader, Loaded

FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "$Junk")
LEAVES = (
    "ALL",
    "SEEN",
    "UNDELETED",
    "NEW",
    "KEYWORD $Junk",
    "UNKEYWORD $Junk",
    "LARGER 50",
    "SMALLER 50",
    "SUBJECT a",
    'FROM ""',
    "HEADER To b",
    "BEFORE 3-Jan-1970",
    "ON 3-Jan-1970",
    "SINCE 3-Jan-1970",
    "SENTBEFORE 3-Jan-1970",
    "SENTON 3-Jan-1970",
    "SENTSINCE 3-Jan-1970",
    "OLDER 100",
    "1:3",
    "UID 2:4",
)
PROGRAMS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        inner.map("NOT {}".format),
        st.tuples(inner, inner).map(lambda two: f"OR {two[0]} {two[1]}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: f"({' '.join(some)})"),
    ),
    max_leaves=6,
)
DAY = 86400


def message(uid: int, flags: frozenset[str], size: int, day: int) -> Any:
    return SimpleNamespace(
        uid=uid, flags=flags, content=SimpleNamespace(size=size), internal_date=day * DAY + 5.0, zone_minutes=60
    )


MESSAGES = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from(FLAGS)),
        st.integers(0, 100),
        st.integers(0, 4),
        st.sampled_from(["", "a", "ab"]),
        st.one_of(st.none(), st.integers(0, 4)),
    ),
    max_size=6,
)


@settings(max_examples=60)
@given(PROGRAMS, MESSAGES)
def test_a_sieve_decides_as_its_test_does(program: str, drawn: list[Any]) -> None:
    messages = [message(uid, *fields[:3]) for uid, fields in enumerate(drawn, 1)]
    records = [SearchRecord(text, text, "", "", text, "", day) for *_, text, day in drawn]
    view: Any = SimpleNamespace(
        count=len(messages),
        uids=[one.uid for one in messages],
        recent={1, 3},
        keywords={"$Junk"},
        session=SimpleNamespace(uidonly=False),
    )
    key = KeyReader(Scanner((program.encode(),)), view, now=3.0 * DAY).program()
    pairs = list(enumerate(messages, 1))
    one_by_one = [key.test(n, m, Loaded(record)) for (n, m), record in zip(pairs, records, strict=True)]
    assert [bool(match) for match in key.matches(range(1, len(messages) + 1), messages, records)] == one_by_one
