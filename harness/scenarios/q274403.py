"""Q274403, deadlock A of the family: directory changes while a message is on its way in."""

from __future__ import annotations

from .scenario import Scenario

SCENARIO = Scenario(
    name="q274403",
    kb="Q274403",
    title="Internet Mail Service Stops Processing Inbound Conversion",
    defect="A",
    defective_build="5.5.2653.18",
    patched_build="5.5.2653.23",
    trigger="directory changes while a message is on its way in",
    symptoms=(
        "the directory-notification thread and the inbound conversion wait for each other",
        "the queues grow and the service stays in `stop pending`",
    ),
)
