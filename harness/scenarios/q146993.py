"""Q146993 (class 20): the last line of a quoted-printable body has no end, and the peer waits for the final dot."""

from __future__ import annotations

from emulator.server import Server

from .scenario import Scenario
from .stage import Stage, mail

ELSEWHERE = "elsewhere.example"

SCENARIO = Scenario(
    name="q146993",
    kb="Q146993",
    title="Quoted-Printable Encoded Messages Stay in IMC",
    defect="unterminated-body",
    defective_build="",
    patched_build="5.5.2655.37",
    trigger="quoted-printable messages for another domain, as many as there are outbound threads; then a plain one",
    symptoms=(
        "the smart host waits for the end of each message, the sender for its reply",
        "the outbound queue stalls behind them: the plain message does not leave either",
    ),
    settings={"with_smarthost": True, "domains": ("example.com",), "outbound_threads": 2},
)

QUOTED = mail("quoted", "na=EFve=1A\r\n", fields=("MIME-Version: 1.0", "Content-Transfer-Encoding: quoted-printable"))
PLAIN = mail("plain")


async def relayed(stage: Stage, host: Server, messages: list[bytes]) -> int:
    """How many of these messages for another domain the smart host gets."""
    for octets in messages:
        await stage.send(octets, [f"someone@{ELSEWHERE}"])
    await stage.until(lambda: host.inbound.accepted_count >= len(messages))
    return host.inbound.accepted_count


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    host = stage.smarthost
    assert host is not None
    got = await relayed(stage, host, [QUOTED, QUOTED, PLAIN])
    if got == 3:
        return ""
    waiting = stage.server.queue_lengths()["Queued Outbound"]
    return f"the smart host has {got} of 3 messages; Queued Outbound: {waiting}"
