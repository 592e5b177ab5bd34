"""Defects as data: ranges, names, and what a build makes of them."""

from __future__ import annotations

import pytest

from emulator.builds import find_build
from emulator.defects import DEFECTS, NEVER, find_defect
from emulator.poison import REACTIONS, TRIGGERS
from protocols.ports import NoSuchMessage


def test_names_are_unique_and_everything_named_exists() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
    for defect in DEFECTS:
        assert defect.kb.startswith("Q")
        assert defect.first <= defect.fixed
        for poison in defect.poisons:
            assert poison.trigger in TRIGGERS
            assert poison.reaction in REACTIONS


@pytest.mark.parametrize("defect", [d for d in DEFECTS if d.first != NEVER], ids=lambda d: d.name)
def test_ranges_begin_and_end_where_the_article_says(defect: object) -> None:
    first, fixed, name = defect.first, defect.fixed, defect.name  # type: ignore[attr-defined]
    assert name in find_build(f"{first[0]}.{first[1]}").defects
    assert name not in find_build(f"{fixed[0]}.{fixed[1]}").defects


@pytest.mark.parametrize("text", ["leaked-section", "Q259541", "q259541", " Leaked-Section "])
def test_found_by_name_and_by_article(text: str) -> None:
    defect = find_defect(text)
    assert defect is not None
    assert defect.name == "leaked-section"
    assert find_build("latest", with_defects=frozenset({text})).defects == {"leaked-section"}


def test_what_a_build_makes_of_them() -> None:
    healthy = find_build("latest")
    assert healthy.leaks("outbound") == ()
    assert healthy.poisons["inbound"] == ()
    assert healthy.frees("logon")
    assert not healthy.holds_over_calls("gateway")
    assert healthy.counter_bits("recipients") == 64
    assert not healthy.is_fatal("corrupt encapsulated address")
    assert healthy.pool("store") is None
    assert not healthy.quirks
    every = find_build("latest", with_defects=frozenset(defect.name for defect in DEFECTS))
    assert every.leaks("outbound") == (NoSuchMessage,)
    assert {poison.reaction for poison in every.poisons["inbound"]} == {"rewind", "recurse", "crash"}
    assert not every.frees("logon")
    assert every.holds_over_calls("gateway")
    assert every.counter_bits("recipients") == 16
    assert every.is_fatal("corrupt encapsulated address")
    assert (every.pool("store"), every.pool("gateway")) == (5, 9)
    assert len(every.quirks) == 4
