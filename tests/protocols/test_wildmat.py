"""Wildmats: RFC 3977 section 4.3 has the examples; nothing takes more than linear time."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.wildmat import PATTERN_CHARACTERS_MAX, WildmatError, pattern, wildmat


@pytest.mark.parametrize(
    ("text", "matching", "not_matching"),
    [
        # RFC 3977 section 4.4
        ("a*,!*b,*c*", ["aaa", "ccb", "bccd"], ["abb", "xxx", "bbb"]),
        ("*", ["", "a", "a.b"], []),
        ("misc.test", ["misc.test"], ["misc.tes", "misc.tests", "Misc.test"]),
        ("misc.*", ["misc.", "misc.test.x"], ["misc", "xmisc.test"]),
        ("?", ["a", "é", "語"], ["", "ab"]),
        ("a?c*e", ["abce", "abcde", "abcee"], ["ace", "abcd", "abcef"]),
        ("*a*b*", ["ab", "xaxbx"], ["ba", "a", "b"]),
        ("ab*ab", ["abab", "abxab"], ["ab", "aba"]),
        ("!a*", [], ["a", "b"]),
        ("*,!alt.*,alt.test", ["misc", "alt.test"], ["alt.x"]),
    ],
)
def test_wildmats(text: str, matching: list[str], not_matching: list[str]) -> None:
    found = wildmat(text)
    assert [name for name in matching if not found.matches(name)] == []
    assert [name for name in not_matching if found.matches(name)] == []


@pytest.mark.parametrize(
    ("text", "matching", "not_matching"),
    [
        ("[ab]*", ["a", "bcd"], ["c", ""]),
        ("[^ab]", ["c", "^"], ["a", "b", ""]),
        ("[a-c]x", ["ax", "bx", "cx"], ["dx"]),
        ("[]]", ["]"], ["["]),
        ("[^]]", ["["], ["]"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[z-a]", [], ["a", "z", "-"]),
        ("\\*\\?", ["*?"], ["ab"]),
        ("a,b", ["a,b"], ["a", "b"]),
        ("!a", ["!a"], ["b"]),
    ],
)
def test_patterns_of_xpat(text: str, matching: list[str], not_matching: list[str]) -> None:
    found = pattern(text)
    assert [name for name in matching if not found.matches(name)] == []
    assert [name for name in not_matching if found.matches(name)] == []


@pytest.mark.parametrize("text", ["", "a,", ",a", "a,,b", "!", "a,!", "[a", "a\\", "a" * (PATTERN_CHARACTERS_MAX + 1)])
def test_what_is_no_wildmat(text: str) -> None:
    with pytest.raises(WildmatError):
        wildmat(text)


@given(st.text(alphabet="ab?*.[]", max_size=12), st.text(alphabet="ab.", max_size=12))
def test_asterisks_and_question_marks_match_as_in_a_shell(text: str, name: str) -> None:
    plain = text.replace("[", "a").replace("]", "b")
    if not plain:
        return
    assert pattern(plain).matches(name) == fnmatch.fnmatchcase(name, plain)


@given(st.text(max_size=40), st.text(max_size=40))
def test_nothing_but_wildmat_errors_is_raised(text: str, name: str) -> None:
    for make in (wildmat, pattern):
        try:
            make(text).matches(name)
        except WildmatError:
            pass


def test_no_pattern_makes_it_backtrack() -> None:
    """Backtracking would take longer than a test may."""
    for hostile in ("*a" * 2000 + "*b", "*" * 4000 + "b", "a*" * 2000 + "?b", "*?" * 2000 + "b"):
        assert not pattern(hostile).matches("a" * 8000)
