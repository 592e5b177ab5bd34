"""The servers of a test session in a thread of their own, with their own event loop: blocking tests need none."""

from __future__ import annotations

import threading
from dataclasses import replace

from emulator.config import Settings

from .fork import settings_beside
from .system import Address, Loop, System

__all__ = ["Address", "RunningServer"]


class RunningServer(System):
    """From `start` to `stop`. It is the system of one test at a time; a test beside that one gets another."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, Loop())
        self._free: list[System] = [self]
        self._others: list[System] = []
        self._lock = threading.Lock()
        """Tests may run in several threads of one process."""

    def start(self) -> None:
        """Start thread and server. Raises SettingsError, UnknownBuild."""
        try:
            self.call(self.begin())
        except BaseException:
            self.loop.end()
            raise

    def stop(self) -> None:
        """Kill all servers and end the thread."""
        try:
            for system in (self, *self._others):
                system.usable()  # waits for an exchange that is under way
                self.call(system.end())
        finally:
            self.loop.end()

    def lease(self) -> System:
        """A system that nobody else uses: this one if it is free. `give_back` it. Raises NotPermitted."""
        with self._lock:  # this one first: an application that was pointed at its ports finds the test's server there
            self._free.sort(key=lambda system: system is self)
            system = self._free.pop() if self._free else None
        if system is not None and not system.usable():
            system = None  # it could not be exchanged, jammed in a way that we do not know: it is left alone
        if system is None:
            system = System(self._settings_elsewhere(), self.loop)
            self.call(system.begin())
            with self._lock:
                self._others.append(system)
        try:
            if not system.is_untouched:
                self.call(system.mark())
        except BaseException:
            with self._lock:
                self._free.append(system)
            raise
        return system

    def _settings_elsewhere(self) -> Settings:
        beside = settings_beside(self.settings)
        return replace(beside, accounts=self.settings.accounts, groups=self.settings.groups)

    def fork(self, system: System) -> System:
        """A system that begins where that one stands. `give_back` it."""
        forked = System(system.settings, self.loop)
        self.call(forked.begin_as_fork(system))
        with self._lock:
            self._others.append(forked)
        return forked

    def give_back(self, system: System) -> None:
        """The test is over: the next one finds nothing of it."""
        if system.is_fork:
            with self._lock:
                self._others.remove(system)
            self.call(system.end())
            return
        if not system.is_untouched:
            system.renew()
        with self._lock:
            self._free.append(system)
