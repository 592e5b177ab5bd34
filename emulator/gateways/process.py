"""A gateway that is an external program: it gets each message on standard input, and its recipients as arguments."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Final

from emulator import imail
from emulator.mts import Refused, Transfer
from emulator.properties import PropertyMessage

from .addressing import takes_domain

ERROR_OCTETS_MAX: Final = 1000
LAST_WORDS_SECONDS_MAX: Final = 1.0


class ProcessFailed(Exception):
    """The program did not take a message."""


class ProcessConnector:
    """Runs `command` with the recipients behind it (as sendmail is run), without a shell, for mail to `domains`.

    A recipient that begins with a dash is refused: it would be a flag. What the program writes to standard output is
    nobody's; of standard error the last octets are the reason of a failure, and no more is kept.
    """

    takes_at_once = True

    def __init__(self, name: str, domains: Sequence[str], command: Sequence[str], seconds_max: float = 60.0) -> None:
        self.name = name
        self._domains = tuple(domains)
        self._command = tuple(command)
        self._seconds_max = seconds_max

    def takes(self, address: str) -> bool:
        """Whether mail for this address leaves by this connector."""
        return takes_domain(self._domains, address) and not address.startswith("-")

    async def deliver(self, transfer: Transfer, properties: PropertyMessage) -> None:
        """Give a message to the program.

        Raises Refused for the exit codes of sysexits.h that say never, ProcessFailed for others, a signal, and when it
        takes longer than `seconds_max`.
        """
        recipients = [address for address in transfer.recipients if not address.startswith("-")]
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *recipients,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that what it starts can be ended with it
        )
        try:
            async with asyncio.timeout(self._seconds_max):
                errors = await _talk(process, imail.outbound(properties))
        except TimeoutError:
            raise ProcessFailed(f"{self._command[0]} took longer than {self._seconds_max:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            reason = f"{self._command[0]} exited with {process.returncode}: {errors.decode('utf-8', 'replace').strip()}"
            raise (Refused if process.returncode in _NEVER else ProcessFailed)(reason)


_NEVER: Final = frozenset({os.EX_DATAERR, os.EX_NOUSER, os.EX_NOHOST, os.EX_UNAVAILABLE, os.EX_NOPERM})


async def _talk(process: asyncio.subprocess.Process, octets: bytes) -> bytes:
    """Feed the program until it exits, whether it reads or not; the end of what it said on standard error."""
    assert process.stdin is not None
    assert process.stderr is not None
    stdin, stderr = process.stdin, process.stderr
    said = bytearray()

    async def feed() -> None:
        with contextlib.suppress(ConnectionError):
            stdin.write(octets)
            await stdin.drain()
        stdin.close()

    async def listen() -> None:
        while chunk := await stderr.read(65_536):
            said.extend(chunk)
            del said[:-ERROR_OCTETS_MAX]

    async with asyncio.TaskGroup() as group:
        tasks = group.create_task(feed()), group.create_task(listen())
        await process.wait()
        await asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS_MAX)  # children may hold its pipes open
        for task in tasks:
            task.cancel()
    return bytes(said)
