"""The spool of the Internet Mail Service: Imcdata/In, Out and BAD (KB Q197792, Q189731), on disk or in memory.

MTS-OUT, where mail waits for a gateway, and MTS-IN, where it waits that a gateway has brought, are kept here too (in
Exchange they were folders of the store, KB Q234065).

A spool file is one line of JSON, the envelope, and behind it the message as it was received. It is written under a
temporary name, synced, renamed, and its folder synced, before `write` returns. Names are eight characters of base 36
(`HBWK2Q2P`), drawn here, never a peer's string.

All steps of one file are one trip to a thread, through aiofiles. There are few threads: their syncs share commits of
the file system's journal; more of them measured slower (benchmarks/durable_spool.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from aiofiles.os import wrap

from protocols.ports import Unavailable

from .config import SettingsError

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NAME_CHARACTERS = 8
SPOOL_NAME = "Imcdata"
IN, OUT, BAD, MTS_IN, MTS_OUT = "In", "Out", "BAD", "MtsIn", "MtsOut"
FOLDERS = (IN, OUT, BAD, MTS_IN, MTS_OUT)
THREADS = 8
FRESH_OCTETS_MAX = 32 << 20
ENVELOPE_OCTETS_MAX = 16 << 20
"""A spool file whose first line is longer is damaged."""
REMOVE_AFTER_SECONDS = 0.05
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

    durable: bool
    """Whether what is here survives the process."""

    async def write(self, folder: str, envelope: Envelope, octets: bytes) -> str:
        """Keep a message and return its name, once it is safe. Raises Unavailable."""
        ...

    def draw(self) -> str:
        """A new name, for `keep`."""
        ...

    async def keep(self, name: str, envelope: Envelope, octets: bytes) -> None:
        """As `write`, in `In`, under a name that was drawn before. Raises Unavailable."""
        ...

    async def read(self, folder: str, name: str) -> tuple[Envelope, bytes]:
        """Raises FileNotFoundError, Unavailable."""
        ...

    async def envelope(self, folder: str, name: str) -> Envelope:
        """As `read`, the envelope alone. Raises ValueError too, for a damaged file."""
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

    def gone(self) -> list[str]:
        """Names removed from `In`, since this was last asked, that no crash can bring back."""
        ...

    def attempts(self, name: str) -> int:
        """What was noted of a message in `In`, by an earlier process too."""
        ...

    async def note_attempts(self, name: str, count: int) -> None:
        """Note that conversion of a message in `In` begins for the `count`-th time; 0: that it came to its end."""
        ...

    def close(self) -> None:
        """Nothing is asked of it any more."""
        ...


def spool_names(now: Callable[[], float] = time.time) -> Callable[[], str]:
    """A source of names that ascend and do not repeat within a process, nor from one start to the next."""
    last = int(now() * 1000)

    def draw() -> str:
        nonlocal last
        last = max(last + 1, int(now() * 1000))
        high, low = divmod(last, len(_PAIRS))
        return _high_characters(high) + _PAIRS[low]

    return draw


_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]


@lru_cache(maxsize=4)
def _high_characters(number: int) -> str:
    """All but the last two characters of a name: the same for a second."""
    name = ""
    for _ in range(NAME_CHARACTERS - 2):
        number, digit = divmod(number, 36)
        name = ALPHABET[digit] + name
    return name


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
    try:
        head = json.loads(line)
        envelope = Envelope(
            str(head["from"]),
            tuple(map(str, head["to"])),
            float(head["at"]),
            dict(head["options"]),
            int(head["attempts"]),
            str(head["reason"]),
        )
    except (KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"the envelope of a spool file is damaged ({type(error).__name__})") from None
    return envelope, octets


class MemorySpool:
    """For servers that keep nothing."""

    durable = False

    def __init__(self, draw: Callable[[], str] | None = None) -> None:
        self.draw = draw or spool_names()
        self._files: dict[str, dict[str, tuple[Envelope, bytes]]] = {folder: {} for folder in FOLDERS}
        self._gone: list[str] = []

    async def write(self, folder: str, envelope: Envelope, octets: bytes) -> str:
        name = self.draw()
        self._files[folder][name] = (envelope, octets)
        return name

    async def keep(self, name: str, envelope: Envelope, octets: bytes) -> None:
        self._files[IN][name] = (envelope, octets)

    async def read(self, folder: str, name: str) -> tuple[Envelope, bytes]:
        try:
            return self._files[folder][name]
        except KeyError:
            raise FileNotFoundError(name) from None

    async def envelope(self, folder: str, name: str) -> Envelope:
        return (await self.read(folder, name))[0]

    async def remove(self, folder: str, name: str) -> None:
        if self._files[folder].pop(name, None) is not None and folder == IN:
            self._gone.append(name)

    def gone(self) -> list[str]:
        gone, self._gone = self._gone, []
        return gone

    def attempts(self, name: str) -> int:
        """None is noted: the process does not outlive its messages."""
        return 0

    async def note_attempts(self, name: str, count: int) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    async def move(self, folder: str, name: str, target: str, reason: str) -> None:
        envelope, octets = self._files[folder].pop(name)
        self._files[target][name] = (_with_reason(envelope, reason), octets)

    async def names(self, folder: str) -> list[tuple[str, int]]:
        return [(name, len(octets)) for name, (_, octets) in self._files[folder].items()]


class DiskSpool:
    """Below DIR/Imcdata."""

    durable = True

    def __init__(self, directory: Path, draw: Callable[[], str] | None = None) -> None:
        self._root = directory / SPOOL_NAME
        self._folders = {folder: self._root / folder for folder in FOLDERS}
        self.draw = draw or spool_names()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mailjam-spool")
        self._fresh: OrderedDict[str, bytes] = OrderedDict()
        """Files of `In` written just now: the worker that wants one next need not wait for the disk."""
        self._fresh_octets = 0
        self._leaving: dict[str, None] = {}
        """Names to be removed from `In`, many in one trip. The store knows that they were delivered."""
        self._timer: asyncio.TimerHandle | None = None
        self._removed: list[str] = []
        """Names removed from `In`, which might be there again after a power failure."""
        self._gone: list[str] = []
        self._attempts: dict[str, int] = {}
        """By name: the number at the end of the empty file `NAME.NUMBER` in `In`."""

    def open(self) -> None:
        """Make the folders; remove files that were being written when the process died (never acknowledged).

        Raises SettingsError.
        """
        try:
            for folder in FOLDERS:
                path = self._root / folder
                path.mkdir(parents=True, exist_ok=True)
                for leftover in path.glob(f"*{_TEMPORARY}"):
                    leftover.unlink(missing_ok=True)
            self._find_attempts()
        except OSError as error:
            text = f"--data: {self._root} cannot be used ({error.strerror}): choose another directory"
            raise SettingsError(text) from None

    def _find_attempts(self) -> None:
        for path in self._folders[IN].glob("*.[0-9]"):
            name, _, count = path.name.partition(".")
            if self._path(IN, name).exists():
                self._attempts[name] = max(int(count), self._attempts.get(name, 0))
            else:
                path.unlink(missing_ok=True)

    def attempts(self, name: str) -> int:
        return self._attempts.get(name, 0)

    async def note_attempts(self, name: str, count: int) -> None:
        # Without a sync: a process that dies of a message does not take with it what the kernel has already.
        before = self._attempts.pop(name, 0)
        if count:
            self._attempts[name] = count = min(count, 9)
        if before != count:
            path = self._path(IN, name)
            await _note(_marker(path, before), _marker(path, count), executor=self._threads)

    def _path(self, folder: str, name: str) -> Path:
        return self._folders[folder] / name

    async def write(self, folder: str, envelope: Envelope, octets: bytes) -> str:
        name = self.draw()
        if folder == IN:
            await self.keep(name, envelope, octets)
        else:
            await self._write(self._path(folder, name), pack(envelope, octets))
        return name

    async def keep(self, name: str, envelope: Envelope, octets: bytes) -> None:
        data = pack(envelope, octets)
        await self._write(self._path(IN, name), data)
        self._keep_fresh(name, data)

    def _keep_fresh(self, name: str, data: bytes) -> None:
        self._fresh[name] = data
        self._fresh_octets += len(data)
        while self._fresh_octets > FRESH_OCTETS_MAX:
            _, dropped = self._fresh.popitem(last=False)
            self._fresh_octets -= len(dropped)

    def _take_fresh(self, name: str) -> bytes | None:
        data = self._fresh.pop(name, None)
        if data is not None:
            self._fresh_octets -= len(data)
        return data

    async def _write(self, path: Path, data: bytes) -> None:
        removed, self._removed = self._removed, []
        try:
            await _write_and_sync(path, data, executor=self._threads)
        except OSError as error:
            self._removed.extend(removed)
            raise Unavailable(f"the spool cannot take the message: {error.strerror or error}") from error
        if path.parent.name == IN:  # its folder was synced, and with it that those are gone
            self._gone.extend(removed)
        else:
            self._removed.extend(removed)

    async def read(self, folder: str, name: str) -> tuple[Envelope, bytes]:
        if folder == IN:
            if name in self._leaving:
                raise FileNotFoundError(name)
            fresh = self._take_fresh(name)
            if fresh is not None:
                return unpack(fresh)
        try:
            data = await _read(self._path(folder, name), executor=self._threads)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable(f"the spool cannot be read: {error.strerror or error}") from error
        return unpack(data)

    async def envelope(self, folder: str, name: str) -> Envelope:
        try:
            return unpack(await _read_line(self._path(folder, name), executor=self._threads))[0]
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable(f"the spool cannot be read: {error.strerror or error}") from error

    async def remove(self, folder: str, name: str) -> None:
        if folder != IN:
            await _unlink([self._path(folder, name)], executor=self._threads)
            return
        self._take_fresh(name)
        if name in self._attempts:
            await self.note_attempts(name, 0)
        self._leaving[name] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(REMOVE_AFTER_SECONDS, self._remove_leaving)

    def _remove_leaving(self) -> None:
        self._timer = None
        names = list(self._leaving)
        trip = self._threads.submit(_unlink_all, [self._path(IN, name) for name in names])
        loop = asyncio.get_running_loop()
        trip.add_done_callback(lambda done: _call_soon(loop, self._left, names, done.exception()))

    def _left(self, names: list[str], error: BaseException | None) -> None:
        for name in names:
            self._leaving.pop(name, None)
        if error is None:  # else they stay, and so does the store's memory of their delivery
            self._removed.extend(names)

    def gone(self) -> list[str]:
        gone, self._gone = self._gone, []
        return gone

    async def move(self, folder: str, name: str, target: str, reason: str) -> None:
        source = self._path(folder, name)
        try:
            envelope, octets = await self.read(folder, name)
        except ValueError:  # not a spool file at all: kept as it is
            await _rename_and_sync(source, self._path(target, name), executor=self._threads)
            await self.note_attempts(name, 0)
            return
        await self._write(self._path(target, name), pack(_with_reason(envelope, reason), octets))
        await self.remove(folder, name)

    async def names(self, folder: str) -> list[tuple[str, int]]:
        def look() -> list[tuple[str, int]]:
            with os.scandir(self._root / folder) as entries:
                return sorted(
                    (entry.name, entry.stat().st_size)
                    for entry in entries
                    if is_spool_name(entry.name) and entry.is_file(follow_symlinks=False)
                )

        found = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        return [pair for pair in found if folder != IN or pair[0] not in self._leaving]

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with contextlib.suppress(OSError):
            _unlink_all([self._path(IN, name) for name in self._leaving])
        self._threads.shutdown(wait=False)


def is_spool_name(name: str) -> bool:
    return len(name) == NAME_CHARACTERS and all(character in ALPHABET for character in name)


def _with_reason(envelope: Envelope, reason: str) -> Envelope:
    return Envelope(
        envelope.reverse_path, envelope.recipients, envelope.received_at, envelope.options, envelope.attempts, reason
    )


@wrap
def _write_and_sync(path: Path, data: bytes) -> None:
    """Raises OSError; then nothing is left of it."""
    temporary = path.with_name(path.name + _TEMPORARY)
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]  # a short write goes on, a full disk raises
            os.fsync(file)
        finally:
            os.close(file)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError:
        for leftover in (temporary, path):
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)
        raise


@wrap
def _rename_and_sync(source: Path, target: Path) -> None:
    source.replace(target)
    sync_folder(target.parent)


def _marker(path: Path, attempts: int) -> Path | None:
    return path.with_name(f"{path.name}.{attempts}") if attempts else None


@wrap
def _note(before: Path | None, now: Path | None) -> None:
    with contextlib.suppress(OSError):  # a full disk: then attempts are counted from here
        if now is not None:
            os.close(os.open(now, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if before is not None:
            before.unlink(missing_ok=True)


@wrap
def _read(path: Path) -> bytes:
    return path.read_bytes()


@wrap
def _read_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(ENVELOPE_OCTETS_MAX)


def _unlink_all(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


_unlink = wrap(_unlink_all)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
        loop.call_soon_threadsafe(callback, *arguments)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
