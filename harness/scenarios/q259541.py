"""Q259541 (class 4): a path that returns early without leaving its critical sections."""

from __future__ import annotations

from harness.clients import Refused
from protocols.ports import Target

from .scenario import Scenario
from .stage import READER, Stage, mail

SCENARIO = Scenario(
    name="q259541",
    kb="Q259541",
    title="Store Hangs During Move Mailbox Process",
    defect="leaked-section",
    defective_build="5.5.2650.24",
    patched_build="5.5.2653.23",
    trigger="POP3 RETR of a message that another session has just removed from the store",
    symptoms=(
        "the first call is refused as it should be",
        "whoever reads or delivers after it waits for a section that nobody will leave",
        "the owner of the section waits for nothing: there is no cycle",
    ),
)


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    server = stage.server
    await stage.prepare_reader()
    await server.converter.put(mail("moved away"), [Target(server.store.mailbox(READER).inbox)])
    pop3, imap = await stage.pop3(), await stage.imap()
    await imap.command(r"STORE 1 +FLAGS.SILENT (\Deleted)")
    await imap.command("EXPUNGE")
    try:
        await pop3.retrieve(1)
    except Refused:
        pass
    return "" if await stage.can_read() else f"a reader hangs after the refusal; {stage.owners()}"
