"""Q278320 (class 16): an empty charset ends the process of the information store."""

from __future__ import annotations

from .scenario import Scenario
from .stage import Stage, mail

SCENARIO = Scenario(
    name="q278320",
    kb="Q278320",
    title="Dr Watson for Inbound Internet Message with Blank CHARSET",
    defect="blank-charset",
    defective_build="5.5.2650.24",
    patched_build="5.5.2653.23",
    trigger="SMTP DATA with an empty charset parameter",
    symptoms=("the information store is down, and with it every protocol", "the message stays in In"),
)

MESSAGE = mail("blank", fields=("MIME-Version: 1.0", 'Content-Type: text/plain; charset = ""'))


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    reader = await stage.imap()
    await stage.send(MESSAGE)
    if await stage.delivered() and not stage.stopped():
        return ""
    dropped = await stage.answers(reader.reader.read())
    return f"stopped: {', '.join(stage.stopped())}; sessions {'dropped' if dropped else 'still open'}"
