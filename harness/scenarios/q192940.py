"""Q192940 (class 9): a corrupt compressed RTF body is synchronised with the text body for ever."""

from __future__ import annotations

import base64

from emulator.imail.rtf_compression import compress_rtf
from emulator.imail.tnef import message_to_tnef
from emulator.properties import PropertyMessage
from emulator.property_tags import PR_RTF_COMPRESSED

from .scenario import Scenario
from .stage import Stage, mail

SCENARIO = Scenario(
    name="q192940",
    kb="Q192940",
    title="Internet Mail Loses Message Body",
    defect="rtf-loop",
    defective_build="5.5.2232.9",
    patched_build="5.5.2448.8",
    trigger="SMTP DATA with a winmail.dat whose PR_RTF_COMPRESSED has a wrong checksum",
    symptoms=(
        "the message stays in the inbound queue, its conversion begins again and again",
        "the processor is busy, and every other conversion waits for the sections",
    ),
)


def corrupt_winmail() -> bytes:
    """A TNEF stream whose RTF body was damaged on the way."""
    rtf = bytearray(compress_rtf(rb"{\rtf1\ansi rich text, rich text, rich text}"))
    rtf[-3] ^= 0x55
    message = PropertyMessage()
    message[PR_RTF_COMPRESSED] = bytes(rtf)
    return message_to_tnef(message)


MESSAGE = mail(
    "winmail.dat",
    base64.encodebytes(corrupt_winmail()).decode().replace("\n", "\r\n"),
    fields=(
        "MIME-Version: 1.0",
        "Content-Type: application/ms-tnef; name=winmail.dat",
        "Content-Transfer-Encoding: base64",
    ),
)


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    await stage.send(MESSAGE)
    if await stage.delivered() and await stage.can_read():
        return ""
    return f"the conversion does not end ({stage.rewinds} rewinds in a second); {stage.owners()}"
