"""Rewinding: whatever was changed is put back, and what cannot be put back is refused."""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.exploration.rewind import NotRewindableError, Rewinder


class Slotted:
    __slots__ = ("later", "value")

    def __init__(self) -> None:
        self.value: Any = [1]


class Below(Slotted):
    __slots__ = ("__private",)

    def __init__(self) -> None:
        super().__init__()
        self.__private = 0

    def count(self) -> int:
        self.__private += 1
        return self.__private


@dataclass(frozen=True)
class Frozen:
    members: list[int] = field(default_factory=list)


class Owner:
    def __init__(self) -> None:
        self.below = Below()
        self.frozen = Frozen([1])
        self.ordered = OrderedDict(a=1, b=2)
        self.queue = deque([1, 2], maxlen=5)
        self.names = {"x"}
        self.counter = Counter("aab")
        self.missing: defaultdict[str, list[int]] = defaultdict(list)
        self.octets = bytearray(b"abc")
        self.none: Any = None
        total = 0

        def add() -> int:
            nonlocal total
            total += 1
            return total

        self.add = add
        self.bound = self.below.count

    @cached_property
    def late(self) -> list[int]:
        return [1]


def look(owner: Owner) -> Any:
    return (
        owner.below.value,
        hasattr(owner.below, "later"),
        owner.frozen.members,
        list(owner.ordered.items()),
        list(owner.queue),
        sorted(owner.names),
        sorted(owner.counter.items()),
        dict(owner.missing),
        bytes(owner.octets),
        owner.none,
        sorted(vars(owner)),
    )


def test_everything_that_was_changed_is_put_back() -> None:
    owner = Owner()
    rewinder = Rewinder([owner])
    before = repr(look(owner))
    for _ in range(3):
        assert owner.add() == 1
        assert owner.bound() == 1
        owner.below.value.append(2)
        owner.below.value = [3]
        setattr(owner.below, "later", 1)  # noqa: B010 - declared in slots only
        owner.frozen.members.clear()
        owner.ordered.move_to_end("a")
        owner.ordered["c"] = 3
        owner.queue.rotate()
        owner.names.add("y")
        owner.counter.update("abc")
        owner.missing["a"].append(1)
        owner.octets += b"d"
        owner.none = {1: 2}
        owner.late.append(2)
        del owner.counter["a"]
        assert repr(look(owner)) != before
        rewinder.rewind()
        assert repr(look(owner)) == before
        assert owner.late == [1], "a cached property is computed anew"
        rewinder.rewind()


def test_a_container_that_was_replaced_by_an_equal_one_comes_back_itself() -> None:
    owner = Owner()
    members = owner.below.value
    rewinder = Rewinder([owner])
    owner.below.value = [1]
    rewinder.rewind()
    assert owner.below.value is members


def test_what_is_kept_or_opaque_is_left_alone() -> None:
    memo: dict[str, int] = {}
    owner = Owner()
    owner.none = (memo, Frozen([1]))
    rewinder = Rewinder([owner], opaque=(Slotted,), keep=[memo])
    memo["a"] = 1
    owner.below.value.append(2)
    rewinder.rewind()
    assert memo == {"a": 1}
    assert owner.below.value == [1, 2]


@pytest.mark.parametrize("state", [random.Random(1), iter([1]), (each for each in [1])], ids=type)
def test_a_hidden_state_is_refused(state: object) -> None:
    with pytest.raises(NotRewindableError, match="cannot be rewound"):
        Rewinder([{"a": [state]}])


@given(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_nest_of_lists_and_dictionaries_comes_back(nest: Any) -> None:
    holder = [nest]
    rewinder = Rewinder([holder])
    before = repr(holder)
    _spoil(holder)
    rewinder.rewind()
    assert repr(holder) == before
    assert len(rewinder) >= 1


def _spoil(nest: Any) -> None:
    if isinstance(nest, list):
        for each in nest:
            _spoil(each)
        nest.reverse()
        nest.append("spoilt")
    elif isinstance(nest, dict):
        for each in nest.values():
            _spoil(each)
        nest["spoilt"] = 1
