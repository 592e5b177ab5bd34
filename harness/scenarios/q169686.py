"""Q169686 (class 14): slow readers have all threads of the information store, and mail finds none."""

from __future__ import annotations

from emulator.server import IMC
from emulator.service import State
from harness.clients import ImapClient
from protocols.ports import Target

from .scenario import Scenario
from .stage import PASSWORD, READER, Stage, mail

THREADS = 5
LARGE_OCTETS = 12 << 20
"""More than the buffers of two sockets take: the reply stays with the server until the client reads."""

SCENARIO = Scenario(
    name="q169686",
    kb="Q169686",
    title="IMC Shuts Down, Error Connecting to IS",
    defect="thread-pool",
    defective_build="",
    patched_build="5.5.2655.37",
    trigger="as many IMAP4 clients as there are threads fetch a large message and do not read it; then SMTP DATA",
    symptoms=(
        "no client of the information store gets an answer any more",
        "the Internet Mail Service finds no thread (3039, 0x80040115) and stops itself; the message stays in In",
    ),
    settings={"send_buffer_bytes_max": 1 << 16, "store_thread_seconds_max": 0.2},
)


async def read_slowly(stage: Stage, count: int) -> list[ImapClient]:
    """So many clients that fetch a large message and take nothing of it."""
    server = stage.server
    octets = mail("large", "x" * 998 + "\r\n") + (b"y" * 998 + b"\r\n") * (LARGE_OCTETS // 1000)
    await server.converter.put(octets, [Target(server.store.mailbox(READER).inbox)])
    readers = []
    for _ in range(count):
        client = await stage.client(ImapClient, "imap")
        await client.login(READER, PASSWORD)
        await client.command("EXAMINE INBOX")
        readers.append(client)
    for client in readers:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # of asyncio's stream transports
        client.write(b"slow FETCH 1 BODY.PEEK[]\r\n")
    pool = server.pools["store"]
    if pool.threads_max is not None:
        await stage.until(lambda: len(pool.busy) >= min(count, THREADS))
    return readers


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    await stage.prepare_reader()
    await read_slowly(stage, THREADS)
    await stage.send(mail("after the slow readers"))
    delivered = await stage.delivered()
    if delivered and await stage.can_read():
        return ""
    service = stage.server.control.find(IMC)
    await stage.answers(stage.server.control.wait_for(service, State.STOPPED))
    busy = len(stage.server.pools["store"].busy)
    kept = stage.server.inbound.awaiting_conversion
    return f"{busy} threads are busy with slow readers; stopped: {', '.join(stage.stopped())}; {kept} message in In"
