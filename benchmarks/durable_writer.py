"""Durable appends/s by the store's own writer thread and by aiosqlite (pip install aiosqlite): same rows and syncs."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from emulator import imail
from emulator.config import Settings
from emulator.durable import open_store
from emulator.durable.bodies import pack
from emulator.durable.schema import connect, migrate
from protocols.ports import Target

BODY = b"Subject: benchmark\r\n\r\n" + b"A line of mail.\r\n" * 100


async def ours(folder: Path, messages: int, sessions: int) -> float:
    store = await open_store(Settings(data=folder))
    mailbox = await store.create_mailbox("alice")
    left = iter(range(messages))

    async def session() -> None:
        for number in left:
            octets = BODY + b"%d\r\n" % number
            await store.append([(store.content_of(imail.inbound(octets), octets), [Target(mailbox.inbox)])])

    began = time.perf_counter()
    await asyncio.gather(*(session() for _ in range(sessions)))
    seconds = time.perf_counter() - began
    await store.close()
    return messages / seconds


async def aiosqlite_rate(folder: Path, messages: int, sessions: int) -> float | None:
    try:
        import aiosqlite  # noqa: PLC0415
    except ImportError:
        return None
    folder.mkdir()
    path = folder / "store.sqlite3"
    connection = connect(path)
    migrate(connection, path)
    connection.close()
    left = iter(range(1, messages + 1))
    lock = asyncio.Lock()
    async with aiosqlite.connect(path, isolation_level=None) as database:
        await database.execute("PRAGMA synchronous = FULL")

        async def session() -> None:
            for number in left:
                octets = BODY + b"%d\r\n" % number
                body = pack(imail.inbound(octets))
                async with lock:  # one transaction at a time on a connection
                    await database.execute("BEGIN IMMEDIATE")
                    await database.execute("INSERT INTO contents VALUES (?, ?, ?, ?)", (number, b"x", len(octets), b""))
                    await database.execute("INSERT INTO bodies VALUES (?, ?, ?, ?)", (number, *body))
                    await database.execute("INSERT INTO messages VALUES (1, ?, ?, '', 1, 0, 1, ?)", (number,) * 3)
                    await database.execute("COMMIT")

        began = time.perf_counter()
        await asyncio.gather(*(session() for _ in range(sessions)))
        return messages / (time.perf_counter() - began)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("messages", type=int, nargs="?", default=2000)
    arguments = parser.parse_args()
    for sessions in (1, 16, 64):
        with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
            count = arguments.messages if sessions > 1 else arguments.messages // 4
            mine = await ours(Path(folder) / "ours", count, sessions)
            theirs = await aiosqlite_rate(Path(folder) / "aiosqlite", count, sessions)
            other = "not installed" if theirs is None else f"{theirs:,.0f}/s"
            print(f"{sessions:3} sessions: writer thread with group commit {mine:,.0f}/s, aiosqlite {other}")


if __name__ == "__main__":
    asyncio.run(main())
