"""Q261135 (class 19): an article whose Message-ID has a percent sign, and STAT."""

from __future__ import annotations

from .scenario import Scenario
from .stage import GROUP, Stage, mail

SCENARIO = Scenario(
    name="q261135",
    kb="Q261135",
    title="Information Store Access Violation w. STAT Command",
    defect="percent-message-id",
    defective_build="5.5.2650.24",
    patched_build="5.5.2653.23",
    trigger="NNTP POST of an article with `%` in its Message-ID, then GROUP and STAT (Q269076: LAST, NEXT)",
    symptoms=("the information store is down, and with it every protocol", "other articles are answered for"),
)

HARMLESS = mail("harmless", fields=(f"Newsgroups: {GROUP}",))
ARTICLE = mail("percent", fields=(f"Newsgroups: {GROUP}",)).replace(b"Message-ID: <", b"Message-ID: <100%sure.")


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    client = await stage.nntp()
    await client.post(HARMLESS)
    await client.post(ARTICLE)
    await client.command(f"GROUP {GROUP}", 211)
    await client.command("STAT 1", 223)
    answered = await stage.answers(client.command("STAT 2", 223))
    if answered and not stage.stopped():
        return ""
    return f"stopped: {', '.join(stage.stopped())} after one STAT"
