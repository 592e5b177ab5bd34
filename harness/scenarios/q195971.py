"""Q195971 (class 8): a decoder goes deeper without moving on; the thread dies inside its critical sections."""

from __future__ import annotations

from .scenario import Scenario
from .stage import Stage, mail

SCENARIO = Scenario(
    name="q195971",
    kb="Q195971",
    title="Deadlock in STORE Due to a Stack Overflow",
    defect="uudecode-overflow",
    defective_build="5.5.2232.9",
    patched_build="5.5.2448.8",
    trigger="SMTP DATA with a uuencoded file that has no `end` and whose last line is incomplete",
    symptoms=(
        "the conversion of the message fails, and its thread never leaves the sections",
        "every later conversion waits for them; no client can read",
    ),
)

MESSAGE = mail("uuencoded", "begin 644 x.txt\r\nM5&AI<R!L:6YE(&AA<R!N;R!E;F0N\r\nM5&AI<R!L:6YE\r\n")


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    await stage.send(MESSAGE)
    await stage.delivered()
    return "" if await stage.can_read() else f"a reader hangs after the failed conversion; {stage.owners()}"
