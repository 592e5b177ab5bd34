"""Q155036 (class 12): a BinHex body part is converted in a loop."""

from __future__ import annotations

from .scenario import Scenario
from .stage import Stage, mail

SCENARIO = Scenario(
    name="q155036",
    kb="Q155036",
    title="IMC: Inbound Messages Queued but Not Processed",
    defect="binhex-loop",
    defective_build="",
    patched_build="5.5.2655.37",
    trigger="SMTP DATA with Content-Type: application/mac-binhex40",
    symptoms=(
        "the message stays in the inbound queue, its conversion asks for a rewind again and again",
        "the processor is busy, and every other conversion waits for the sections",
    ),
)

MESSAGE = mail(
    "BinHex",
    '(This file must be converted with BinHex 4.0)\r\n:$f*TEQKPH#jdH("dC5"3!!!!!:\r\n',
    fields=("MIME-Version: 1.0", "Content-Type: application/mac-binhex40; name=x.hqx"),
)


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    await stage.send(MESSAGE)
    if await stage.delivered() and await stage.can_read():
        return ""
    return f"the conversion does not end ({stage.rewinds} rewinds in a second); {stage.owners()}"
