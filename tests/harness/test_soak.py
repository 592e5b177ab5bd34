"""Ungated traffic: the jam comes by itself under the defect, never under the patch."""

from harness.soak import soak


async def test_the_defective_build_jams_by_itself() -> None:
    results = [await soak("sp4", seed, 10.0) for seed in range(3)]
    assert any(result.jam is not None for result in results)
    assert not any(result.problems for result in results), [result.problems for result in results]


async def test_the_patched_build_does_not() -> None:
    result = await soak("patched", 1, 2.0)
    assert result.jam is None
    assert result.counts["smtp messages"] > 10
    assert result.counts["nntp articles"] > 10
    assert not result.problems
