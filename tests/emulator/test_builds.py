"""Builds and their defects, as the Knowledge Base documents them."""

import pytest

from emulator.builds import ORDERS, SECTION_RANKS, UnknownBuild, find_build


@pytest.mark.parametrize(
    ("number", "defects"),
    [
        ("5.5.1960.6", "BC"),
        ("5.5.2448.8", "BC"),
        ("5.5.2650.24", "BC"),
        ("5.5.2653.6", "BC"),
        ("5.5.2653.7", "ABC"),
        ("5.5.2653.18", "ABC"),
        ("5.5.2653.19", "BC"),
        ("5.5.2653.23", "BC"),
        ("5.5.2654.28", "BC"),
        ("5.5.2654.29", "C"),
        ("5.5.2654.93", "C"),
        ("5.5.2654.94", ""),
        ("5.5.2655.37", ""),
    ],
)
def test_the_documented_matrix(number: str, defects: str) -> None:
    lock_order = find_build(number).defects & set("ABC")
    assert lock_order == set(defects)


def test_a_patched_build_keeps_the_global_order_on_every_path() -> None:
    build = find_build("latest")
    for path in ORDERS:
        ranks = [SECTION_RANKS[name] for name in build.order(path)]
        assert ranks == sorted(ranks)


def test_the_defect_is_the_opposite_order_and_nothing_else() -> None:
    bad, good = find_build("sp4"), find_build("patched")
    assert bad.order("outbound") == tuple(reversed(good.order("outbound")))
    assert bad.order("inbound") == good.order("inbound")


def test_aliases_and_short_names() -> None:
    assert find_build("sp4").number == find_build("2653.23").number == "5.5.2653.23"
    assert find_build("SP3").service_pack == "5.5 SP3"


@pytest.mark.parametrize("text", ["", "6.0.1", "5.5.2653", "5.5.x.y", "5.5.99999999.1", "5.5.1.1", "5.5.2701.0"])
def test_unknown_builds_name_the_fix(text: str) -> None:
    with pytest.raises(UnknownBuild, match=r"5\.5\.") as caught:
        find_build(text)
    assert "\n" not in str(caught.value)


def test_defects_can_be_switched_on_by_name() -> None:
    assert "A" in find_build("latest", with_defects=frozenset("A")).defects
    with pytest.raises(UnknownBuild, match="unknown defect"):
        find_build("latest", with_defects=frozenset({"nonsense"}))
