"""The spool of the Internet Mail Service: Imcdata/In, Out and BAD (KB Q197792, Q189731), on disk or in memory.

A spool file is one line of JSON, the envelope, and behind it the message as it was received. It is written under a
temporary name, synced, renamed, and its folder synced, before `write` returns: what was acknowledged is kept. Names are
eight characters of base 36 (`HBWK2Q2P`), drawn here, never a peer's string.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiofiles
import aiofiles.os

from protocols.ports import Unavailable

from .config import SettingsError

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NAME_CHARACTERS = 8
IN, OUT, BAD = "In", "Out", "BAD"
_TEMPORARY = ".tmp"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What SMTP said about a message besides its octets."""

    reverse_path: str
    recipients: tuple[str, ...]
    received_at: float = 0.0
    """Seconds since the epoch."""
    options: dict[str, Any] = field(default_factory=dict)
    """Parameters of MAIL and RCPT that delivery or relay need (RFC 3461 and others), JSON values."""
    attempts: int = 0
    reason: str = ""
    """Why it is in BAD."""


class Spool(Protocol):
    """Messages on their way, by folder and name."""

    async def write(self, folder: str, envelope: Envelope, octets: bytes) -> str:
        """Keep a message and return its name, once it is safe. Raises Unavailable."""
        ...

    async def read(self, folder: str, name: str) -> tuple[Envelope, bytes]:
        """Raises FileNotFoundError, Unavailable."""
        ...

    async def remove(self, folder: str, name: str) -> None:
        """No harm where it is gone already."""
        ...

    async def move(self, folder: str, name: str, target: str, reason: str) -> None:
        """Move a file to another folder with its reason: no message is ever thrown away."""
        ...

    async def names(self, folder: str) -> list[tuple[str, int]]:
        """(name, octets) of what is there, oldest first."""
        ...


def spool_names(now: Callable[[], float] = time.time) -> Callable[[], str]:
    """A source of names that ascend and do not repeat within a process, nor from one start to the next."""
    last = int(now() * 1000)

    def draw() -> str:
        nonlocal last
        last = max(last + 1, int(now() * 1000))
        number, name = last, ""
        for _ in range(NAME_CHARACTERS):
            number, digit = divmod(number, 36)
            name = ALPHABET[digit] + name
        return name

    return draw


def pack(envelope: Envelope, octets: bytes) -> bytes:
    """The octets of a spool file."""
    head = {
        "from": envelope.reverse_path,
        "to": envelope.recipients,
        "at": envelope.received_at,
        "options": envelope.options,
        "attempts": envelope.attempts,
        "reason": envelope.reason,
    }
    return json.dumps(head, ensure_ascii=True).encode() + b"\n" + octets


def unpack(data: bytes) -> tuple[Envelope, bytes]:
    """The inverse of `pack`. Raises ValueError for a damaged file."""
    line, newline, octets = data.partition(b"\n")
    if not newline:
        raise ValueError("a spool file begins with a line of JSON")
    head = json.loads(line)
    envelope = Envelope(
        str(head["from"]),
        tuple(map(str, head["to"])),
        float(head["at"]),
        dict(head["options"]),
        int(head["attempts"]),
        str(head["reason"]),
    )
    return envelope, octets


class MemorySpool:
    """For servers that keep nothing."""

    def __init__(self, draw: Callable[[], str] | None = None) -> None:
        self._draw = draw or spool_names()
        self._files: dict[str, dict[str, tuple[Envelope, bytes]]] = {IN: {}, OUT: {}, BAD: {}}

    async def write(self, folder: str, envelope: Envelope, octets: bytes) -> str:
        name = self._draw()
        self._files[folder][name] = (envelope, octets)
        return name

    async def read(self, folder: str, name: str) -> tuple[Envelope, bytes]:
        try:
            return self._files[folder][name]
        except KeyError:
            raise FileNotFoundError(name) from None

    async def remove(self, folder: str, name: str) -> None:
        self._files[folder].pop(name, None)

    async def move(self, folder: str, name: str, target: str, reason: str) -> None:
        envelope, octets = self._files[folder].pop(name)
        self._files[target][name] = (_with_reason(envelope, reason), octets)

    async def names(self, folder: str) -> list[tuple[str, int]]:
        return [(name, len(octets)) for name, (_, octets) in self._files[folder].items()]


class DiskSpool:
    """Below DIR/Imcdata."""

    def __init__(self, directory: Path, draw: Callable[[], str] | None = None) -> None:
        self._root = directory / "Imcdata"
        self._draw = draw or spool_names()

    def open(self) -> None:
        """Make the folders; remove files that were being written when the process died (never acknowledged).

        Raises SettingsError.
        """
        try:
            for folder in (IN, OUT, BAD):
                path = self._root / folder
                path.mkdir(parents=True, exist_ok=True)
                for leftover in path.glob(f"*{_TEMPORARY}"):
                    leftover.unlink(missing_ok=True)
        except OSError as error:
            text = f"--data: {self._root} cannot be used ({error.strerror}): choose another directory"
            raise SettingsError(text) from None

    def _path(self, folder: str, name: str) -> Path:
        return self._root / folder / name

    async def write(self, folder: str, envelope: Envelope, octets: bytes) -> str:
        name = self._draw()
        await self._write(self._path(folder, name), pack(envelope, octets))
        return name

    async def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(path.name + _TEMPORARY)
        try:
            async with aiofiles.open(temporary, "wb", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[await file.write(view) :]
                await asyncio.to_thread(os.fsync, file.fileno())
            await asyncio.to_thread(_rename_and_sync, temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise Unavailable(f"the spool cannot take the message: {error.strerror}") from error

    async def read(self, folder: str, name: str) -> tuple[Envelope, bytes]:
        try:
            async with aiofiles.open(self._path(folder, name), "rb") as file:
                data = await file.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable(f"the spool cannot be read: {error.strerror}") from error
        return unpack(data)

    async def remove(self, folder: str, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            await aiofiles.os.remove(self._path(folder, name))

    async def move(self, folder: str, name: str, target: str, reason: str) -> None:
        source = self._path(folder, name)
        try:
            envelope, octets = await self.read(folder, name)
        except ValueError:  # not a spool file at all: kept as it is
            await asyncio.to_thread(_rename_and_sync, source, self._path(target, name))
            return
        await self._write(self._path(target, name), pack(_with_reason(envelope, reason), octets))
        await self.remove(folder, name)

    async def names(self, folder: str) -> list[tuple[str, int]]:
        def look() -> list[tuple[str, int]]:
            with os.scandir(self._root / folder) as entries:
                return sorted((entry.name, entry.stat().st_size) for entry in entries if is_spool_name(entry.name))

        return await asyncio.to_thread(look)


def is_spool_name(name: str) -> bool:
    return len(name) == NAME_CHARACTERS and all(character in ALPHABET for character in name)


def _with_reason(envelope: Envelope, reason: str) -> Envelope:
    return Envelope(
        envelope.reverse_path, envelope.recipients, envelope.received_at, envelope.options, envelope.attempts, reason
    )


def _rename_and_sync(temporary: Path, path: Path) -> None:
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
