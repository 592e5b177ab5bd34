"""Q295969, deadlock C of the family: a delivery report while a gateway takes a message."""

from __future__ import annotations

from .scenario import Scenario

SCENARIO = Scenario(
    name="q295969",
    kb="Q295969",
    title="The Information Store Service Is Caught in Deadlock",
    defect="C",
    defective_build="5.5.2654.29",
    patched_build="5.5.2654.94",
    trigger="a delivery report while a gateway takes a message",
    symptoms=(
        "the report and the gateway's conversion wait for each other",
        "the fix of Q279798 does not help",
        "the queues grow and the service stays in `stop pending`",
    ),
)
