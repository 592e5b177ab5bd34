"""Q279798 on real sockets: every pair, defective and patched; the symptoms of the article."""

import pytest

from harness.reproduce import INBOUND, OUTBOUND, run_once


@pytest.mark.parametrize("outbound", OUTBOUND)
@pytest.mark.parametrize("inbound", INBOUND)
async def test_every_pair_jams_under_the_defect_and_none_under_the_patch(inbound: str, outbound: str) -> None:
    bad = await run_once("5.5.2653.23", inbound, outbound)
    assert bad.verdict == "jammed"
    assert bad.jam is not None
    assert len(bad.jam.cycle) == 2
    assert {edge.section for edge in bad.jam.cycle} == {"imail", "directory"}
    assert bad.jam.seconds_after_closing < 0.05
    kinds = {edge.waiter.split("-")[0] for edge in bad.jam.cycle}
    assert kinds == {"inbound" if inbound == "smtp" else inbound, outbound}
    good = await run_once("5.5.2654.29", inbound, outbound)
    assert good.verdict == "delivered"


@pytest.mark.parametrize(
    ("build", "verdict"),
    [
        ("5.5.2448.8", "jammed"),
        ("5.5.2650.24", "jammed"),
        ("5.5.2654.28", "jammed"),
        ("5.5.2654.29", "delivered"),
        ("5.5.2655.37", "delivered"),
    ],
)
async def test_the_builds_at_the_edges(build: str, verdict: str) -> None:
    assert (await run_once(build)).verdict == verdict


async def test_what_is_alive_in_a_jam_and_what_is_not() -> None:
    outcome = await run_once("sp4", "smtp", "imap", look_closer=True)
    assert outcome.queues_before["Queued Inbound"] == 1
    assert outcome.queues_after["Queued Inbound"] == 6, "SMTP keeps accepting"
    stages = {probe.protocol: dict(probe.stages) for probe in outcome.probes}
    assert all(result == "ok" for result in stages["smtp"].values())
    assert {probe.protocol: probe.hung_at for probe in outcome.probes} == {
        "smtp": "",
        "pop3": "RETR",
        "imap": "FETCH",
        "nntp": "POST",
    }
    assert stages["imap"]["CAPABILITY"] == stages["imap"]["NOOP"] == stages["pop3"]["NOOP"] == "ok"
    assert outcome.stop_ended is False
    assert outcome.stop_states == {"MSExchangeIMC": "stop pending", "MSExchangeIS": "running"}
    assert [name.split()[-2:] for name in outcome.stacks if name.startswith("imap")] == [["1", "BODY.PEEK[]"]]
    assert all("CriticalSection.enter" in stack[-1] for stack in outcome.stacks.values())


async def test_the_patched_build_under_the_same_schedule() -> None:
    outcome = await run_once("patched", "smtp", "imap", look_closer=True)
    assert outcome.jam is None
    assert not any(probe.hung_at for probe in outcome.probes)
    assert all(result == "ok" for probe in outcome.probes for _, result in probe.stages)
    assert outcome.queues_after["Queued Inbound"] == 0
    assert outcome.stop_ended
    assert set(outcome.stop_states.values()) == {"stopped"}
