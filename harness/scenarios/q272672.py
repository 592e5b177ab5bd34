"""Q272672 (class 22): more recipients than a signed counter of 16 bits can count."""

from __future__ import annotations

from harness.clients import SmtpClient

from .scenario import Scenario
from .stage import READER, Stage, mail

RECIPIENTS = 32_767

SCENARIO = Scenario(
    name="q272672",
    kb="Q272672",
    title="Internet Mail Service Does Not Generate NDR Message",
    defect="recipient-counter",
    defective_build="5.5.2653.23",
    patched_build="5.5.2654.29",
    trigger="SMTP with 32,767 RCPT TO",
    symptoms=("all recipients are taken, and the message stays in In for ever",),
)


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well: the last recipient is refused by 452."""
    client = await stage.client(SmtpClient, "smtp")
    client.seconds_max = 30.0
    await client.hello()
    await client.command("MAIL FROM:<sender@example.com>", 250)
    recipient = f"RCPT TO:<{READER}@example.com>\r\n".encode()
    reply = b""
    for start in range(0, RECIPIENTS, 1000):
        count = min(1000, RECIPIENTS - start)
        client.write(recipient * count)
        for _ in range(count):
            reply = await client.reply()
    if reply.startswith(b"452"):
        return ""
    await client.command("DATA", 354)
    client.write(mail("to many") + b".\r\n")
    await client.reply(250)
    if await stage.delivered():
        return ""
    return f"{RECIPIENTS} recipients are taken, {stage.server.inbound.awaiting_conversion} message stays in In"
