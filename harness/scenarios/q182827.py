"""Q182827 (class 13): a PostScript attachment cannot be made quoted-printable."""

from __future__ import annotations

from .scenario import Scenario
from .stage import Stage, mail

SCENARIO = Scenario(
    name="q182827",
    kb="Q182827",
    title="Store Uses 100 Percent CPU When Sending Postscript Attachments",
    defect="postscript-loop",
    defective_build="",
    patched_build="5.5.2655.37",
    trigger="SMTP DATA with Content-Type: application/postscript",
    symptoms=(
        "the message stays in the inbound queue, its conversion asks for a rewind again and again",
        "the processor is busy, and every other conversion waits for the sections",
    ),
)

MESSAGE = mail(
    "PostScript",
    "%!PS-Adobe-2.0\r\nshowpage\r\n",
    fields=("MIME-Version: 1.0", "Content-Type: application/postscript; name=x.ps"),
)


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    await stage.send(MESSAGE)
    if await stage.delivered() and await stage.can_read():
        return ""
    return f"the conversion does not end ({stage.rewinds} rewinds in a second); {stage.owners()}"
