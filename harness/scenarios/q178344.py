"""Q178344 (class 7): a badly formed MIME message is rewound and converted for ever."""

from __future__ import annotations

from .scenario import Scenario
from .stage import Stage, mail

SCENARIO = Scenario(
    name="q178344",
    kb="Q178344",
    title="IS Uses 100% of CPU and Generates Access Violation",
    defect="rewind-loop",
    defective_build="",
    patched_build="5.5.2655.37",
    trigger="SMTP DATA with a multipart that has no end",
    symptoms=(
        "the message stays in the inbound queue, its conversion asks for a rewind again and again",
        "the processor is busy, and every other conversion waits for the sections",
    ),
)

MESSAGE = mail(
    "no end",
    "--b\r\nContent-Type: text/plain\r\n\r\nThe closing boundary is missing.\r\n",
    fields=("MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b"),
)


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    await stage.send(MESSAGE)
    if await stage.delivered() and await stage.can_read():
        return ""
    return f"the conversion does not end ({stage.rewinds} rewinds in a second); {stage.owners()}"
