"""Q263064 (class 6): a critical section is held while another system is waited for."""

from __future__ import annotations

import asyncio
from typing import Any

from emulator.mts import Transfer

from .scenario import Scenario
from .stage import Stage, mail

SCENARIO = Scenario(
    name="q263064",
    kb="Q263064",
    title="Blackberry Service Stops If Exchange Server Comp. Offline",
    defect="silent-peer",
    defective_build="",
    patched_build="5.5.2655.37",
    trigger="a message for a gateway whose other side never answers",
    symptoms=("every conversion waits, although only one peer is silent", "the owner of the section waits for a peer"),
)


class SilentConnector:
    """A gateway to a system that takes the call and does not answer."""

    name = "silent"

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def takes(self, address: str) -> bool:
        return False

    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        self._loop.call_soon_threadsafe(self.called.set)
        await asyncio.get_running_loop().create_future()


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    connector = SilentConnector()
    gateway = stage.server.mts.log_on(connector)
    gateway.mts_out.put(Transfer("sender@example.com", ("someone@elsewhere.example",), mail("to the gateway")))
    await stage.answers(connector.called.wait())
    return "" if await stage.can_read() else f"a reader hangs while one peer is silent; {stage.owners()}"
