"""What `mailjam serve` adds to a server at start: a fault script, a publisher. Checked before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emulator.config import SettingsError

from .faults.model import FaultError, read_script

if TYPE_CHECKING:
    from emulator.server import Server


class Disturbances:
    """Raises SettingsError for a script or a broker that cannot be used."""

    def __init__(self, mqtt: str, faults: Path | None) -> None:
        self._faults = []
        self._broker = None
        if faults is not None:
            try:
                self._faults = read_script(faults.read_text("utf-8"))
            except FaultError as problem:
                raise SettingsError(f"--faults {faults}: {problem}") from None
            except (OSError, UnicodeDecodeError) as problem:
                raise SettingsError(f"--faults {faults}: {getattr(problem, 'strerror', None) or problem}") from None
        if mqtt:
            from .mqtt import Broker  # noqa: PLC0415  # most servers need none

            self._broker = Broker.parse(mqtt)
            Broker.check_library()

    def start(self, server: Server) -> None:
        """Arm the faults, begin to publish."""
        if self._faults:
            from .workbench import Workbench  # noqa: PLC0415  # a server that nobody watches pays nothing

            try:
                Workbench.of(server).faults.load(self._faults)
            except FaultError as problem:
                raise SettingsError(f"--faults: {problem}") from None
        if self._broker is not None:
            from .mqtt import Publisher  # noqa: PLC0415

            Publisher(server, self._broker).start()
