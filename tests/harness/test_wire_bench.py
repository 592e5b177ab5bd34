"""The bench: one server and its clients, on which schedule after schedule is run."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.exploration.search import random_runs
from harness.participants import UnknownParticipant
from harness.scenario import Scenario
from harness.wire import DONE, JAM
from harness.wire_bench import Bench

DEFECTIVE, PATCHED = "5.5.2653.23", "5.5.2654.29"


@pytest.mark.parametrize(
    ("kinds", "build"),
    [
        (("notification", "smtp"), "5.5.2653.18"),
        (("report", "gateway-out"), PATCHED),
        (("smtp", "smtp", "fetch"), DEFECTIVE),
    ],
)
async def test_random_schedules_of_the_explorer_replay_on_the_wire(kinds: tuple[str, ...], build: str) -> None:
    scenario = Scenario(build, kinds)
    endings: Counter[str] = Counter()
    async with Bench(scenario) as bench:
        for outcome in random_runs(scenario.program, 25, seed=7):
            tape = [(actor, str(op)) for actor, op in zip(outcome.order, outcome.performed, strict=True)]
            found = await bench.follow(tape)
            assert (found.kind, found.tape) == (outcome.kind, tape), found.detail
            endings[found.kind] += 1
    assert endings[JAM]
    assert endings[DONE]


def test_kinds_without_a_client_are_refused() -> None:
    with pytest.raises(UnknownParticipant):
        Bench(Scenario(PATCHED, ("put", "get")))
