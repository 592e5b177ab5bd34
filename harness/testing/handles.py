"""What a test holds in its hands: a gate, a fault, the clock of a system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.faults import Fault
from harness.faults.engine import ActiveFault
from harness.gates import Gate

from .system import System


async def later(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a plain function on the server's loop."""
    return function(*arguments)


class Held:
    """A gate as tests use it: `wait_until_held` and `release`, blocking; `held` to await."""

    def __init__(self, system: System, gate: Gate) -> None:
        self._system = system
        self._gate = gate

    def wait_until_held(self, count: int = 1, timeout: float = 10.0) -> str:
        """Wait until so many actors stand here: the name of the first. Raises TimeoutError."""
        return str(self._system.call(self._gate.wait_until_held(count, seconds_max=timeout)))

    async def held(self, count: int = 1, timeout: float = 10.0) -> str:
        """As `wait_until_held`, to await."""
        return str(await self._system.acall(self._gate.wait_until_held(count, seconds_max=timeout)))

    def release(self) -> None:
        """Let all go."""
        self._system.call(later(self._gate.release))


class FaultHandle:
    """A fault that is armed."""

    def __init__(self, system: System, active: ActiveFault) -> None:
        self._system = system
        self._active = active

    @property
    def fired(self) -> int:
        """How often it struck."""
        return self._active.fired

    @property
    def holding(self) -> int:
        """How many sessions a `hang` holds now."""
        return self._active.holding

    @property
    def fault(self) -> Fault:
        """The fault itself."""
        return self._active.fault

    def release(self) -> None:
        """Let go whom it holds."""
        self._system.call(later(self._active.release))


class TestClock:
    """The server's clock."""

    __test__ = False

    def __init__(self, system: System) -> None:
        self._system = system

    def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0) -> None:
        """Let time pass for the server: deadlines in it are kept. Raises ValueError."""
        clock: Any = self._system.server.clock
        self._system.call(clock.advance(seconds, minutes=minutes, hours=hours))

    def time(self) -> float:
        """The server's time, seconds since the epoch."""
        return self._system.server.clock.time()
