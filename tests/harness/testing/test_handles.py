from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.testing.fixture import settings_from
from harness.testing.handles import FaultHandle, Held, TestClock, later
from harness.testing.running import RunningServer


@pytest.fixture(scope="module")
def system() -> Iterator[RunningServer]:
    running = RunningServer(settings_from({}))
    running.start()
    yield running
    running.stop()


def test_a_gate_is_held_and_released(system: RunningServer) -> None:
    held = Held(system, system.call(later(system.workbench.gates.hold, "inbound.imail.held")))
    with pytest.raises(TimeoutError, match=r"inbound\.imail\.held"):
        held.wait_until_held(timeout=0.01)
    held.release()
    system.call(later(system.workbench.close_gates))


def test_a_fault_tells_what_it_did(system: RunningServer) -> None:
    from harness.faults import Fault

    active = system.call(later(system.workbench.faults.add, Fault.from_text("error command=RCPT")))
    handle = FaultHandle(system, active)
    assert (handle.fired, handle.holding, handle.fault.command) == (0, 0, "RCPT")
    handle.release()


def test_the_clock_goes_forward(system: RunningServer) -> None:
    clock = TestClock(system)
    before = clock.time()
    clock.advance(hours=1)
    assert clock.time() - before >= 3600
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
