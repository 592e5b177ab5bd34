"""A gateway to Maildirs: files that appear in one folder come in, messages that leave are written to another."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from emulator import imail
from emulator.mts import MessageTransferStub, Transfer
from emulator.properties import PropertyMessage
from emulator.spool import sync_folder
from protocols.ports import Unavailable

from .addressing import envelope_of, takes_domain

FILE_OCTETS_MAX = 1 << 28
FILES_PER_ROUND_MAX = 1000
_numbers = count(1)


class Sleeper(Protocol):
    """The part of the clock port that watching needs."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class MaildirConnector:
    """Carries mail for `domains` into the Maildir `outbox`, and brings in what appears in the Maildir `inbox`."""

    takes_at_once = True

    def __init__(self, name: str, domains: Sequence[str], outbox: Path, inbox: Path | None = None) -> None:
        self.name = name
        self._domains = tuple(domains)
        self._outbox = outbox
        self._inbox = inbox
        for folder in (outbox, inbox):
            if folder is not None:
                for part in ("tmp", "new", "cur"):
                    (folder / part).mkdir(parents=True, exist_ok=True)

    def takes(self, address: str) -> bool:
        """Whether mail for this address leaves by this connector."""
        return takes_domain(self._domains, address)

    def deliver(self, transfer: Transfer, properties: PropertyMessage) -> None:
        """Write a message: into `tmp`, synced, then renamed into `new`, and that synced. Raises OSError."""
        octets = imail.outbound(properties)
        # with the time: a later process may have the same number, and must not write over what is there
        name = f"{time.time_ns()}.P{os.getpid()}Q{next(_numbers)}.mailjam"
        path = self._outbox / "tmp" / name
        with path.open("xb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        path.rename(self._outbox / "new" / name)
        sync_folder(self._outbox / "new")

    def _take(self) -> list[tuple[Path, bytes]]:
        """New files with their octets; those that are too large stay where they are."""
        assert self._inbox is not None
        return [
            (path, path.read_bytes())
            for path in sorted((self._inbox / "new").iterdir())[:FILES_PER_ROUND_MAX]
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= FILE_OCTETS_MAX
        ]

    async def poll(self, mts: MessageTransferStub) -> int:
        """Bring in what is new; how many. A file goes to `cur` once MTS-IN has it, in the spool where there is one.

        It stays where MTS-IN cannot take it. A process that is killed between the two brings it once more.
        """
        if self._inbox is None:
            return 0
        brought = 0
        for path, octets in await asyncio.to_thread(self._take):
            sender, recipients = envelope_of(imail.inbound(octets))
            try:
                await mts.bring(self.name, sender, recipients, octets)
            except (Unavailable, KeyError):
                break
            await asyncio.to_thread(path.rename, self._inbox / "cur" / f"{path.name}:2,S")
            brought += 1
        return brought

    async def watch(self, mts: MessageTransferStub, clock: Sleeper, poll_seconds: float = 1.0) -> None:
        """Poll for as long as the gateway is logged on. What the folder's disk does wrong is the gateway's failure."""
        while self.name in mts.gateways:
            try:
                await self.poll(mts)
            except OSError as error:
                _note(mts, self.name, f"watch: {error}")
            await clock.sleep(poll_seconds)


def _note(mts: MessageTransferStub, name: str, failure: str) -> None:
    gateway: Any = mts.gateways.get(name)
    if gateway is not None and len(gateway.failures) < 100 and failure not in gateway.failures:
        gateway.failures.append(failure)
