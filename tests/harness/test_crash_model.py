"""The judge of the crash test must see what is wrong, and forgive what was only in doubt."""

from __future__ import annotations

import pytest

from harness.crash_model import DeliveryModel, FolderModel, Found

NONE: frozenset[str] = frozenset()
SEEN = frozenset({"\\Seen"})


def folder() -> FolderModel:
    model = FolderModel("work")
    model.uid_validity = 7
    assert model.arrived(1, "a", NONE) == []
    assert model.arrived(2, "b", SEEN) == []
    return model


BOTH = [Found(1, "a", NONE), Found(2, "b", SEEN)]


@pytest.mark.parametrize(
    ("validity", "uid_next", "found", "complaint"),
    [
        (7, 3, BOTH, None),
        (8, 3, BOTH, "UIDVALIDITY"),
        (7, 2, BOTH, "UIDNEXT"),
        (7, 3, BOTH[1:], "lost"),
        (7, 3, [Found(1, "b", NONE), BOTH[1]], "was a"),
        (7, 3, [Found(1, "a", SEEN), BOTH[1]], "flags"),
        (7, 4, [*BOTH, Found(3, "a", NONE)], "twice"),
        (7, 3, [*BOTH, BOTH[1]], "twice"),
    ],
)
def test_folders(validity, uid_next, found, complaint):
    wrong = folder().compare(validity, uid_next, found)
    assert (complaint in wrong[0]) if complaint else wrong == []


def test_what_was_in_doubt_may_be_either_way():
    for found in (BOTH, [Found(2, "b", NONE)], [*BOTH, Found(3, "c", NONE)]):
        model = folder()
        model.leaving.add(1)
        model.flags_in_doubt[2] = NONE
        model.arriving["c"] += 1
        assert model.compare(7, 4, found) == []
        assert model.compare(7, 4, found) == [], "reality is the model now"


def test_an_arrival_in_doubt_arrives_once_and_above_what_was_seen():
    model = folder()
    model.arriving["c"] += 1
    assert "twice" in model.compare(7, 5, [*BOTH, Found(3, "c", NONE), Found(4, "c", NONE)])[0]
    model = folder()
    model.messages.pop(2)
    model.arriving["c"] += 1
    assert "used again" in model.compare(7, 3, [BOTH[0], Found(2, "c", NONE)])[0]
    assert "used again" in folder().arrived(2, "d", NONE)[0]


def test_deliveries():
    model = DeliveryModel("INBOX", sent={"a", "b", "c"}, acknowledged={"a", "b"})
    assert "lost" in model.compare({1: "a"})[0]
    model = DeliveryModel("INBOX", sent={"a", "b", "c"}, acknowledged={"a", "b"})
    assert model.compare({1: "a", 2: "b"}) == []
    assert "twice" in model.compare({3: "b"})[0]
    assert "never sent" in model.compare({4: "x"})[0]
    assert "used again" in model.compare({2: "y"})[0]
    model = DeliveryModel("INBOX", confirmed={1: "a"})
    assert model.compare_all({1: "a"}) == []
    assert model.compare_all({2: "a"})
