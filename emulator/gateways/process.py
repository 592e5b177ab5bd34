"""A gateway that is an external program: it gets each message on standard input, and its recipients as arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from emulator import imail
from emulator.mts import Transfer
from emulator.properties import PropertyMessage

from .addressing import takes_domain

ERROR_OCTETS_MAX = 1000


class ProcessFailed(Exception):
    """The program did not take a message."""


class ProcessConnector:
    """Runs `command` with the recipients behind it (as sendmail is run), without a shell, for mail to `domains`.

    A recipient that begins with a dash is refused: it would be a flag.
    """

    def __init__(self, name: str, domains: Sequence[str], command: Sequence[str], seconds_max: float = 60.0) -> None:
        self.name = name
        self._domains = tuple(domains)
        self._command = tuple(command)
        self._seconds_max = seconds_max

    def takes(self, address: str) -> bool:
        """Whether mail for this address leaves by this connector."""
        return takes_domain(self._domains, address) and not address.startswith("-")

    async def deliver(self, transfer: Transfer, properties: PropertyMessage) -> None:
        """Give a message to the program. Raises ProcessFailed when it fails or takes too long."""
        recipients = [address for address in transfer.recipients if not address.startswith("-")]
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *recipients,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._seconds_max):
                _, errors = await process.communicate(imail.outbound(properties))
        except TimeoutError:
            raise ProcessFailed(f"{self._command[0]} took longer than {self._seconds_max} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            reason = errors[:ERROR_OCTETS_MAX].decode("utf-8", "replace").strip()
            raise ProcessFailed(f"{self._command[0]} exited with {process.returncode}: {reason}")
