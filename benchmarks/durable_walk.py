"""Cost of IMAP operations on a durable mailbox of 1,000 and of 100,000 messages, over a socket."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from emulator import imail
from emulator.config import Settings, parse_account
from emulator.server import Server
from harness.clients import ImapClient
from protocols.ports import Target

OPERATIONS = {
    "STATUS": "STATUS INBOX (MESSAGES UNSEEN UIDNEXT)",
    "SELECT": "SELECT INBOX",
    "FETCH one FLAGS": "FETCH {middle} (UID FLAGS)",
    "FETCH one ENVELOPE": "FETCH {middle} ENVELOPE",
    "FETCH one BODY[]": "FETCH {middle} BODY.PEEK[]",
    "UID FETCH 50": "UID FETCH {middle}:{beyond} (UID FLAGS)",
    "STORE one": "STORE {middle} {sign}FLAGS (\\Flagged)",
    "SEARCH UID": "SEARCH UID {middle}:{beyond}",
    "COPY one": "COPY {middle} Sent",
    "NOOP": "NOOP",
}


async def measure(messages: int, folder: Path) -> dict[str, float]:
    settings = Settings(data=folder, accounts=(parse_account("alice:secret"),))
    costs = {}
    async with Server(settings) as server:
        mailbox = await server.directory.login("alice")
        octets = [b"Subject: %d\r\n\r\nbody\r\n" % number for number in range(messages)]
        for start in range(0, messages, 5000):
            batch = octets[start : start + 5000]
            items = [(server.store.content_of(imail.inbound(each), each), [Target(mailbox.inbox)]) for each in batch]
            await server.store.append(items)
    began = time.perf_counter()
    server = Server(settings)
    await server.start()
    costs["start of the server"] = time.perf_counter() - began
    try:
        client = await ImapClient.connect(server.addresses["imap"], seconds_max=60)
        await client.login("alice", "secret")
        for name, command in OPERATIONS.items():
            times = 10
            began = time.perf_counter()
            for number in range(times):
                middle = messages // 2 + number
                await client.command(command.format(middle=middle, beyond=middle + 49, sign="+-"[number % 2]))
            costs[name] = (time.perf_counter() - began) / times
        await client.close()
    finally:
        await server.stop()
    return costs


async def main() -> None:
    found = []
    for messages in (1_000, 100_000):
        with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
            found.append(await measure(messages, Path(folder)))
    small, large = found
    print(f"{'milliseconds':22}{'1,000':>10}{'100,000':>10}")
    for name in small:
        print(f"{name:22}{small[name] * 1000:10.2f}{large[name] * 1000:10.2f}")


if __name__ == "__main__":
    asyncio.run(main())
