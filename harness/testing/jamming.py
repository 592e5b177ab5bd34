"""The jam of KB Q279798 on a running server: two actors, each between its two sections; then they are let go.

Nothing is simulated: an inbound worker converts a message and a reader reads one; gates only choose the moment.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from emulator.builds import DEFECTIVE_BUILD
from protocols.actor import Actor
from protocols.ports import NotPermitted, Target

if TYPE_CHECKING:
    from harness.workbench import Workbench

SECONDS_MAX = 10.0
PATIENT = "postmaster"
NOTE = (
    b"From: mailjam@localhost\r\nTo: postmaster@localhost\r\nSubject: %b\r\n\r\nOne of the two messages of Q279798.\r\n"
)


class Jamming:
    """Makes the jam, and ends it by taking away the reader."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._reader: asyncio.Task[None] | None = None
        self._build_before = ""

    async def jam(self) -> None:
        """Take the defective build, bring two conversions into each other's way. Raises NotPermitted, TimeoutError."""
        bench = self._workbench
        server = bench.server
        if server.sections.cycles():
            raise NotPermitted("it is jammed already: release it first")
        if any(state != "running" for state in server.states().values()):
            raise NotPermitted("all services must run: start them first")
        self._build_before = server.build.number
        bench.set_build(DEFECTIVE_BUILD)
        mailbox = await server.directory.recipient(PATIENT)
        (message,) = await server.converter.put(NOTE % b"to be read", [Target(mailbox.inbox)])
        server.converter.forget_converted()
        inbound = bench.gates.hold("inbound.imail.held", actor="inbound", count=1)
        outbound = bench.gates.hold("outbound.directory.held", actor="reader", count=1)
        try:
            await server.inbound.submit("mailjam@localhost", [PATIENT], NOTE % b"on its way in")
            await inbound.wait_until_held(seconds_max=SECONDS_MAX)
            reader = Actor("reader", user=PATIENT, doing="reads a message")
            self._reader = server.scheduler.spawn(reader, self._read(message))
            await outbound.wait_until_held(seconds_max=SECONDS_MAX)
        finally:
            inbound.release()
            outbound.release()
        await self._wait_for_cycle()

    async def _read(self, message: Any) -> None:
        await self._workbench.server.converter.octets(message)

    async def _wait_for_cycle(self) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while not self._workbench.server.sections.cycles():  # noqa: ASYNC110  # a graph has no event
                await asyncio.sleep(0.005)

    async def release(self) -> None:
        """Take the reader away (its sections are left), let go whom faults and gates hold, bring the build back."""
        bench = self._workbench
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.cancel()
            await asyncio.wait((reader,), timeout=5)
        for active in bench.faults:
            active.release()
        bench.close_gates()
        if self._build_before:
            bench.set_build(self._build_before)
            self._build_before = ""
