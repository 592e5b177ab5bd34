"""Q195970 (class 10): the names of two attachments never become different."""

from __future__ import annotations

from .scenario import Scenario
from .stage import Stage, mail

SCENARIO = Scenario(
    name="q195970",
    kb="Q195970",
    title="STORE Loops While Processing Same DBCS Attachment Files",
    defect="same-name-loop",
    defective_build="5.5.2448.8",
    patched_build="5.5.2650.24",
    trigger="a message with two attachments of the same double-byte name, read back",
    symptoms=("the conversion on the way out does not end", "every other conversion waits for the sections"),
)

_PART = "--b\r\nContent-Type: text/plain; name*=utf-8''%E6%96%87\r\n\r\nx\r\n"
MESSAGE = mail(
    "two of a name", _PART * 2 + "--b--\r\n", fields=("MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b")
)


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    await stage.send(MESSAGE)
    await stage.delivered()
    client = await stage.pop3()
    if await stage.answers(client.retrieve(1)) and await stage.can_read():
        return ""
    return f"reading does not end ({stage.rewinds} rewinds in a second); {stage.owners()}"
