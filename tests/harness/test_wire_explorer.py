"""`mailjam explore --wire`: every class of schedules goes the same way on real sockets."""

from __future__ import annotations

import pytest

from harness.exploration.certificate import Verdict
from harness.exploration.dpor import SourceDpor
from harness.exploration.schedule import Schedule
from harness.exploration.search import replay
from harness.explorer import Options
from harness.replay import replay_on_wire
from harness.scenario import ARTICLES, Scenario
from harness.wire import DONE, INCONCLUSIVE, JAM
from harness.wire_explorer import explore_freely, explore_on_wire

DEFECTIVE, PATCHED = "5.5.2653.23", "5.5.2654.29"


@pytest.mark.parametrize("pair", ARTICLES["q279798"].pairs, ids="-".join)
async def test_every_class_of_schedules_goes_the_same_way_on_the_wire(pair: tuple[str, str]) -> None:
    jam = await explore_on_wire(Scenario(DEFECTIVE, pair), Options())
    assert jam.verdict is Verdict.JAM, jam.problem
    assert jam.counts[JAM] == 1
    assert len(jam.cycle) == 2
    free = await explore_on_wire(Scenario(PATCHED, pair), Options())
    assert free.verdict is Verdict.PASS, free.problem
    assert set(free.counts) == {DONE}


async def test_what_happened_on_the_wire_can_be_replayed_in_memory() -> None:
    scenario = Scenario(DEFECTIVE, ("smtp", "pop3"))
    finding = await explore_freely(scenario, 30, seed=2)
    assert finding.counts[JAM]
    assert finding.counts[DONE]
    assert finding.token is not None
    outcome = replay(scenario.program, Schedule.parse(finding.token))
    assert outcome.kind == "jam"


async def test_one_participant_never_passes() -> None:
    scenario = Scenario(PATCHED, ("pop3",))
    outcome = next(iter(SourceDpor(scenario.program)))
    result = await replay_on_wire(scenario, outcome)
    assert result.counts == {INCONCLUSIVE: 1}
    assert (await explore_on_wire(scenario, Options())).verdict is Verdict.INCONCLUSIVE
