"""One process at a time in a data directory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from emulator.config import SettingsError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]


class DirectoryLock:
    """A lock on DIR/lock. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises SettingsError when another process has it, or the directory cannot be written."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            text = f"--data {self._path.parent} cannot be written ({error.strerror}): choose another directory"
            raise SettingsError(text) from None
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _number_in(file)
            os.close(file)
            who = f"process {holder}" if holder else "another process"
            text = f"--data {self._path.parent} is in use by {who}: stop it, or choose another directory"
            raise SettingsError(text) from None
        with contextlib.suppress(OSError):  # only a help for people: a full disk must not keep the server from starting
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Let go. No harm when it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _number_in(file: int) -> int:
    try:
        return int(os.pread(file, 20, 0) or b"0")
    except (OSError, ValueError):
        return 0
