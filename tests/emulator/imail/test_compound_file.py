"""emulator/imail/compound_file.py"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.imail.compound_file import SIGNATURE, Tree, read_compound_file, write_compound_file

NAMES = st.text("abcABC_.#0", min_size=1, max_size=12)
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(NAMES, st.binary(max_size=100), max_size=6),
    lambda inner: st.dictionaries(NAMES, st.one_of(st.binary(max_size=100), inner), max_size=5),
    max_leaves=12,
)


@settings(max_examples=100)
@given(TREES)
def test_a_tree_is_read_as_written(tree: Tree) -> None:
    assert read_compound_file(write_compound_file(tree)) == tree


def test_large_streams() -> None:
    tree: Tree = {"big": bytes(range(256)) * 40_000, "edge": b"x" * 4096, "small": b"y" * 4095, "many": {}}
    for index in range(300):
        tree[f"s{index}"] = bytes((index % 256,)) * index
    octets = write_compound_file(tree)
    assert len(octets) % 512 == 0
    assert read_compound_file(octets) == tree


@settings(max_examples=150)
@given(st.binary(max_size=600), st.integers(0, 2000), st.binary(max_size=8))
def test_damage_never_raises(tail: bytes, at: int, patch: bytes) -> None:
    octets = bytearray(write_compound_file({"a": b"x" * 100, "b": {"c": b"y" * 5000}}))
    octets[at : at + len(patch)] = patch
    read_compound_file(bytes(octets))
    read_compound_file(SIGNATURE + tail)
