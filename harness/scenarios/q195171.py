"""Q195171 (class 18): a FETCH with a space too many ends the process of the information store."""

from __future__ import annotations

from .scenario import Scenario
from .stage import OTHER, Stage

SCENARIO = Scenario(
    name="q195171",
    kb="Q195171",
    title="Invalid Fetch Command Causes Information Store to Stop",
    defect="fetch-empty-field",
    defective_build="5.5.2232.9",
    patched_build="5.5.2448.8",
    trigger="IMAP4 FETCH 1 BODY[HEADER.FIELDS (SUBJECT )]",
    symptoms=("the information store is down, and with it every protocol", "without the space, FETCH is answered"),
)


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    client = await stage.imap(OTHER)
    await client.command("FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]")
    client.write(b"x FETCH 1 BODY[HEADER.FIELDS (SUBJECT )]\r\n")
    await stage.answers(client.responses(b"x"))  # a server may answer OK or BAD
    if not stage.stopped() and await stage.can_read():
        return ""
    return f"stopped: {', '.join(stage.stopped())} after one FETCH"
