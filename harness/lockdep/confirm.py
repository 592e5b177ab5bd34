"""From a predicted cycle to a verdict: steer the program into it, or prove that it cannot happen.

Steering, after ConLock and DeadlockFuzzer: the program is run again; every actor that is about to take the second lock
of the cycle, holds the first one and has been suspended since it took that, is held back until the others stand at
theirs (or for HOLD_SECONDS). That is a wait which the program's own await could have taken just as long.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from harness.exploration import Factory, Verdict, explore
from harness.lockdep.findings import Finding
from harness.lockdep.model import is_library
from harness.lockdep.watch import DeadlockError, Watch

HOLD_SECONDS: Final = 0.2
_Main = Callable[[], Coroutine[Any, Any, Any]]


class Steering:
    """Holds actors back at the places where a finding's participants take their second lock."""

    def __init__(self, watch: Watch, finding: Finding) -> None:
        self.watch = watch
        self.places = [(part.stack[0].file, part.stack[0].line) for part in finding.participants if part.stack]
        self.arrived: dict[int, object] = {}
        self.open: asyncio.Event | None = None
        self._originals: list[tuple[str, Any]] = []

    def install(self) -> None:
        """On top of the watch's own patches."""
        for name in ("__aenter__", "acquire"):
            original = getattr(asyncio.Lock, name)
            self._originals.append((name, original))
            setattr(asyncio.Lock, name, self._held_back(original))

    def remove(self) -> None:
        while self._originals:
            name, original = self._originals.pop()
            setattr(asyncio.Lock, name, original)

    def _held_back(self, original: Any) -> Any:
        async def steered(lock: Any) -> Any:
            frame: Any = sys._getframe(1)
            if not is_library(frame.f_code.co_filename):
                await self._stop((frame.f_code.co_filename, frame.f_lineno))
            return await original(lock)

        return steered

    async def _stop(self, place: tuple[str, int]) -> None:
        recorder = self.watch.recorder
        actor = recorder.actor()
        if not actor.held or actor in self.arrived.values():
            return
        if all(lock.epoch == recorder.epoch for lock in actor.held):
            return  # not suspended since: holding it back here would be an await that the program does not have
        free = [index for index, known in enumerate(self.places) if known == place and index not in self.arrived]
        if not free:
            return
        self.arrived[free[0]] = actor
        if self.open is None:
            self.open = asyncio.Event()
        if len(self.arrived) == len(self.places):
            self.open.set()
            return
        try:
            await asyncio.wait_for(self.open.wait(), HOLD_SECONDS)
        except TimeoutError:
            self.arrived.pop(free[0], None)


def confirm(
    finding: Finding, main: _Main, *, runs: int = 10, seconds: float = 10.0, model: Factory | None = None
) -> Finding:
    """Set `confirmation` and `evidence` of an order finding, and return it.

    `main` makes the program anew for each of at most `runs` runs of at most `seconds`; no watch may be running.
    CONFIRMED: a run jammed in that cycle. REFUTED: all interleavings of `model`, the program for the explorer, are
    free of jams. UNDECIDED otherwise.
    """
    if finding.kind != "order":
        raise ValueError(f"only an order can be confirmed; this is a {finding.kind}")
    for number in range(runs):
        jam = _steered_run(finding, main, seconds)
        if jam is not None:
            finding.confirmation = "CONFIRMED"
            finding.evidence = f"steered into a jam in run {number + 1}: {jam.summary}"
            return finding
    finding.confirmation = "UNDECIDED"
    finding.evidence = f"no jam in {runs} steered runs"
    if model is not None:
        certificate = explore(model)
        if certificate.verdict is Verdict.PASS:
            finding.confirmation = "REFUTED"
            finding.evidence = f"{certificate.executions} classes of interleavings cover the model; none jams"
        elif certificate.verdict is Verdict.JAM:
            finding.confirmation = "CONFIRMED"
            finding.evidence = f"the explorer found a jam in the model: {certificate.token}"
    return finding


def _steered_run(finding: Finding, main: _Main, seconds: float) -> Finding | None:
    watch = Watch(raise_on_jam=True)
    steering = Steering(watch, finding)

    async def limited() -> None:
        await asyncio.wait_for(main(), seconds)

    with watch:
        steering.install()
        try:
            asyncio.run(limited())
        except (DeadlockError, TimeoutError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            steering.remove()
        return next((found for found in watch.findings() if found.kind == "jam"), None)
