"""Q239082 (class 18): an IMAP4 client waits for the answer to its APPEND, the server for a line end that it had."""

from __future__ import annotations

import ssl

from harness.clients import ImapClient

from .scenario import Scenario
from .stage import PASSWORD, READER, Stage, mail

SCENARIO = Scenario(
    name="q239082",
    kb="Q239082",
    title="IMAP4 Client Hangs Attempting to Append Message Using SSL",
    defect="append-line-end",
    defective_build="5.5.2448.8",
    patched_build="5.5.2650.24",
    trigger="IMAP4 APPEND under TLS, the message and the line end behind it in one write",
    symptoms=(
        "the client hangs: its message is taken, the answer does not come",
        "without TLS, or with the line end in a write of its own, the same APPEND is answered",
    ),
    settings={"tls": True},
)


async def append(stage: Stage, *, tls: bool, together: bool) -> bool:
    """Whether APPEND is answered."""
    client = await stage.client(ImapClient, "imap")
    if tls:
        await client.command("STARTTLS")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await client.writer.start_tls(context)
    await client.login(READER, PASSWORD)
    octets = mail("appended")
    client.write(b"a APPEND INBOX {%d}\r\n" % len(octets))
    await client.line()
    if together:
        client.write(octets + b"\r\n")
    else:
        received = stage.octets_received()
        client.write(octets)
        await stage.until(lambda: stage.octets_received() >= received + len(octets))
        client.write(b"\r\n")
    return await stage.answers(client.responses(b"a"))


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    if not await append(stage, tls=False, together=True):
        return "APPEND without TLS is not answered, which no article tells"
    if await append(stage, tls=True, together=True):
        return ""
    return "APPEND under TLS is not answered; without TLS it was"
