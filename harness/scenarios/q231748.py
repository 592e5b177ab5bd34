"""Q231748 (class 17): a comment with a comma in an address ends the process of the information store."""

from __future__ import annotations

from .scenario import Scenario
from .stage import Stage, mail

SCENARIO = Scenario(
    name="q231748",
    kb="Q231748",
    title="Pattern in Address in SMTP Messages Causes Store to Crash",
    defect="address-comment",
    defective_build="5.5.2448.8",
    patched_build="5.5.2650.24",
    trigger="SMTP DATA with a Cc field in which a comment has a comma",
    symptoms=("the information store is down, and with it every protocol", "the message stays in In"),
)

MESSAGE = mail("comment", fields=("Cc: mchiba (M,Chiba); ",))


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    reader = await stage.imap()
    await stage.send(MESSAGE)
    if await stage.delivered() and not stage.stopped():
        return ""
    dropped = await stage.answers(reader.reader.read())
    return f"stopped: {', '.join(stage.stopped())}; sessions {'dropped' if dropped else 'still open'}"
