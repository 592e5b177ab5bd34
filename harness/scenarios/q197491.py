"""Q197491 (class 11): a header line longer than a fixed buffer is read on and on."""

from __future__ import annotations

from emulator.poison import SUBJECT_BUFFER_OCTETS

from .scenario import Scenario
from .stage import GROUP, Stage, mail

SCENARIO = Scenario(
    name="q197491",
    kb="Q197491",
    title="Large NNTP Header Causes Store to Consume 100% of CPU Time",
    defect="long-subject-loop",
    defective_build="5.5.2448.8",
    patched_build="5.5.2650.24",
    trigger="a newsreader fetches an article whose Subject has more than 20 KB",
    symptoms=("one thread of the store is busy for ever", "every other conversion waits for the sections"),
)

SUBJECT = "\r\n ".join(["A long subject " + "x" * 900] * (SUBJECT_BUFFER_OCTETS // 900 + 1))
ARTICLE = mail(SUBJECT, fields=(f"Newsgroups: {GROUP}",))


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    client = await stage.nntp()
    await client.post(ARTICLE)
    await client.command(f"GROUP {GROUP}", 211)
    if await stage.answers(client.article("1")) and await stage.can_read():
        return ""
    return f"reading does not end ({stage.rewinds} rewinds in a second); {stage.owners()}"
