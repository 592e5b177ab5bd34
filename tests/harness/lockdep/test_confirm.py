"""Predicted cycles are steered into a jam, refuted, or left undecided."""

from __future__ import annotations

import asyncio

import pytest

from harness import lockdep
from harness.exploration.samples import patched_two_locks, two_locks
from harness.lockdep import Finding
from harness.lockdep.confirm import confirm


async def program(*, pause: bool = True) -> None:
    """Both orders, one long after the other: no run jams by itself."""
    a, b = asyncio.Lock(), asyncio.Lock()

    async def path(first: asyncio.Lock, second: asyncio.Lock, delay: float) -> None:
        await asyncio.sleep(delay)
        async with first:
            if pause:
                await asyncio.sleep(0)
            async with second:
                pass

    await asyncio.gather(path(a, b, 0.0), path(b, a, 0.02))


async def program_without_pause() -> None:
    await program(pause=False)


def predicted(pause: bool = True) -> Finding:
    with lockdep.watch() as watch:
        asyncio.run(program(pause=pause))
    (finding,) = watch.findings()
    assert finding.kind == "order"
    return finding


def test_a_feasible_order_is_steered_into_a_jam() -> None:
    finding = confirm(predicted(), program)
    assert finding.confirmation == "CONFIRMED"
    assert "held by task" in finding.evidence
    assert "order (feasible, CONFIRMED)" in finding.text()
    assert asyncio.Lock.acquire.__module__ == "asyncio.locks"


def test_a_latent_order_stays_undecided_without_a_model() -> None:
    finding = confirm(predicted(pause=False), program_without_pause, runs=3)
    assert finding.confirmation == "UNDECIDED"


def test_a_model_refutes_or_confirms() -> None:
    refuted = confirm(predicted(pause=False), program_without_pause, runs=1, model=patched_two_locks)
    assert refuted.confirmation == "REFUTED"
    assert not refuted.fails
    found = confirm(predicted(pause=False), program_without_pause, runs=1, model=two_locks)
    assert found.confirmation == "CONFIRMED"
    assert "mj1-" in found.evidence


def test_only_orders_can_be_confirmed() -> None:
    with pytest.raises(ValueError, match="this is a jam"):
        confirm(Finding("jam", "stuck", "", ()), program)
