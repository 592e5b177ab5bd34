"""Q282115 (class 14): with a fifth connector of a kind, mail stops on all of them."""

from __future__ import annotations

from typing import Any

from emulator.mts import Transfer

from .scenario import Scenario
from .stage import READER, Stage, mail

CONNECTORS = 5

SCENARIO = Scenario(
    name="q282115",
    kb="Q282115",
    title="If more than 4 SAP Exchange Connectors are installed, mail stops",
    defect="connector-threads",
    defective_build="",
    patched_build="5.5.2655.37",
    trigger="SMTP DATA for the domains of five connectors, each of which also brings a message",
    symptoms=(
        "no connector carries or brings anything, while four of them do",
        "every thread of the pool waits for a second one",
    ),
)


class Counting:
    """A connector that takes what it gets."""

    def __init__(self, number: int) -> None:
        self.name = f"sap{number}"

    def takes(self, address: str) -> bool:
        return address.endswith(f"@{self.name}.example")

    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        pass


async def exchange(stage: Stage, connectors: int) -> tuple[int, int]:
    """How many messages were carried away and how many were brought, of one each for every connector."""
    mts = stage.server.mts
    gateways = [mts.log_on(Counting(number)) for number in range(1, connectors + 1)]
    for gateway in gateways:
        name = gateway.connector.name
        mts.submit(name, f"someone@{name}.example", [f"{READER}@example.com"], mail(f"from {name}"))
        await stage.send(mail(f"to {name}", to=f"user.{name}"), [f"user@{name}.example"])
    await stage.delivered()
    await stage.until(lambda: all(gateway.carried and gateway.delivered for gateway in gateways))
    return sum(gateway.carried for gateway in gateways), sum(gateway.delivered for gateway in gateways)


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    carried, brought = await exchange(stage, CONNECTORS)
    if (carried, brought) == (CONNECTORS, CONNECTORS):
        return ""
    pool = stage.server.pools["gateway"]
    return (
        f"{carried} of {CONNECTORS} messages carried, {brought} brought; "
        f"{len(pool.busy)} threads are taken, {len(pool.waiting)} are waited for"
    )
