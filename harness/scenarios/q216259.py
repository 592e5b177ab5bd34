"""Q216259 (class 5): each logon takes a resource that the logoff does not give back."""

from __future__ import annotations

from harness.clients import Pop3Client, Refused

from .scenario import Scenario
from .stage import PASSWORD, READER, Stage

LOGONS_MAX = 20

SCENARIO = Scenario(
    name="q216259",
    kb="Q216259",
    title="IS Stops Responding Due to Critical Section Leak, Event ID 1160",
    defect="logon-leak",
    defective_build="5.5.2448.7",
    patched_build="5.5.2448.8",
    trigger="connect, log in, log out, over and over",
    symptoms=("the number of logons held grows with each logon", "after enough of them every logon is refused (1160)"),
    settings={"logons_max": LOGONS_MAX},
)


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    for number in range(2 * LOGONS_MAX):
        client = await stage.client(Pop3Client, "pop3")
        try:
            await client.login(READER, PASSWORD)
        except Refused as refusal:
            return f"logon {number + 1} is refused: {refusal}"
        await client.command("QUIT")
        await stage.answers(client.reader.read())
    return ""
