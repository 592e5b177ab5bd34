"""Schedules on real sockets: what the explorer finds, the wire shows; what does not fit is said."""

from __future__ import annotations

import pytest

from harness import wire
from harness.scenario import Scenario
from harness.wire import INCONCLUSIVE
from harness.wire_bench import Bench

DEFECTIVE, PATCHED = "5.5.2653.23", "5.5.2654.29"


async def test_a_participant_that_does_not_arrive_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "STALL_SECONDS_MAX", 0.2)
    async with Bench(Scenario(PATCHED, ("smtp", "pop3"))) as bench:

        async def silent() -> None:
            await bench._expect(99)

        monkeypatch.setattr(bench.drivers[1], "request", silent)
        outcome = await bench.run(lambda enabled, last: enabled[0])
        assert outcome.kind == INCONCLUSIVE
        assert "nothing moved" in outcome.detail
