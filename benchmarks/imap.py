"""IMAP figures over real sockets: BODY[] per second, ENVELOPE of 2,000 messages, cost by mailbox size.

    python benchmarks/imap.py [--cores]

The server runs in a process of its own (on the first core with --cores), the client here (on the second).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import socket
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

from emulator.config import Settings, parse_account
from emulator.server import Server
from protocols.ports import Target

MESSAGE = (
    b"From: Sender %d <sender%d@example.com>\r\nTo: alice@example.com\r\nSubject: message number %d\r\n"
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <%d@example.com>\r\n\r\n" + b"text of the message\r\n" * 40
)


def serve(pipe: Connection, core: int | None) -> None:
    """Run a server with mailboxes of 1,000, 2,000, 10,000 and 100,000 messages until the pipe closes."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    gc.set_threshold(50_000, 20, 50)  # as `mailjam serve` does

    async def main() -> None:
        settings = Settings(
            smtp_port=None, pop3_port=None, nntp_port=None, tls=False, accounts=(parse_account("alice:secret"),)
        )
        async with Server(settings) as server:
            mailbox = server.store.mailboxes["alice"]
            for size in (1000, 2000, 10000, 100000):
                folder = await server.store.create_folder(mailbox, f"m{size}")
                for start in range(0, size, 1000):
                    items = []
                    for number in range(start, min(start + 1000, size)):
                        octets = MESSAGE % (number % 5000, number % 5000, number % 5000, number % 5000)
                        items.append((octets, [Target(folder)]))
                    await server.converter.put_all(items)
            pipe.send(server.addresses["imap"])
            await asyncio.to_thread(pipe.poll, None)

    asyncio.run(main())


class Client:
    """A blocking client, as small as can be."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.recv(65536)
        self.run(b"LOGIN alice secret")

    def run(self, *commands: bytes) -> int:
        """Send the commands at once, read until the last is done; the octets that came."""
        self.socket.sendall(b"".join([b"t%d %b\r\n" % (index, command) for index, command in enumerate(commands)]))
        mark = b"t%d " % (len(commands) - 1)
        total, tail = 0, b"\r\n"
        while True:
            data = self.socket.recv(1 << 20)
            total += len(data)
            tail = (tail + data)[-3000:] if len(data) < 3000 else data[-3000:]
            position = tail.rfind(b"\r\n" + mark)
            if position >= 0 and tail.endswith(b"\r\n"):
                assert tail[position + 2 + len(mark) :].startswith(b"OK"), tail
                return total


def timed(client: Client, command: bytes, times: int) -> float:
    """Median milliseconds of one command."""
    figures = []
    for _ in range(times):
        start = time.perf_counter()
        client.run(command)
        figures.append((time.perf_counter() - start) * 1000)
    return statistics.median(figures)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cores", action="store_true", help="server and client each on a core of its own")
    pinned = parser.parse_args().cores
    here, there = multiprocessing.Pipe()
    process: Any = multiprocessing.Process(target=serve, args=(there, 0 if pinned else None), daemon=True)
    process.start()
    if pinned:
        os.sched_setaffinity(0, {1})
    address = here.recv()
    client = Client(address)
    client.run(b"SELECT m1000")
    client.run(b"FETCH 1:* BODY.PEEK[]")
    start = time.perf_counter()
    for index in range(5000):
        client.run(b"FETCH %d BODY[]" % (index % 1000 + 1))
    print(f"BODY[] one at a time     {5000 / (time.perf_counter() - start):10,.0f} /s")
    start = time.perf_counter()
    for _ in range(10):
        client.run(*[b"FETCH %d BODY[]" % (index + 1) for index in range(1000)])
    print(f"BODY[] 1000 pipelined    {10000 / (time.perf_counter() - start):10,.0f} /s")
    start = time.perf_counter()
    for _ in range(10):
        client.run(b"FETCH 1:* BODY[]")
    print(f"BODY[] in one FETCH      {10000 / (time.perf_counter() - start):10,.0f} /s")
    start = time.perf_counter()
    for _ in range(10):
        client.run(*[b"NOOP"] * 1000)
    print(f"NOOP 1000 pipelined      {10000 / (time.perf_counter() - start):10,.0f} /s")
    client.run(b"SELECT m2000")
    client.run(b"FETCH 1:* ENVELOPE")
    print(f"FETCH 1:2000 ENVELOPE    {timed(client, b'FETCH 1:* ENVELOPE', 20):10.2f} ms")
    print(f"FETCH 1:2000 FLAGS       {timed(client, b'FETCH 1:* (UID FLAGS)', 20):10.2f} ms")
    print("\nmilliseconds by mailbox size")
    commands = (
        b"NOOP",
        b"FETCH 500 (UID FLAGS)",
        b"UID FETCH 500 BODY.PEEK[]",
        b"STORE 500 +FLAGS (\\Flagged)",
        b"STORE 500 -FLAGS (\\Flagged)",
        b"UID SEARCH UID 400:600 UNSEEN",
        b"STATUS INBOX (MESSAGES)",
        b"SEARCH UNFLAGGED",
        b"SEARCH SEEN",
        b"SEARCH SUBJECT nowhere",
        b"SEARCH TEXT nowhere",
        b"FETCH 1:* FLAGS",
        b"SORT (SUBJECT) UTF-8 ALL",
        b"THREAD REFERENCES UTF-8 ALL",
    )
    sizes = (1000, 10000, 100000)
    results: dict[bytes, list[float]] = {}
    for size in sizes:
        client.run(b"SELECT m%d" % size)
        client.run(b"SEARCH SUBJECT nowhere")
        for command in commands:
            results.setdefault(command, []).append(timed(client, command, 30 if size < 100000 else 7))
        results.setdefault(b"SELECT", []).append(timed(client, b"SELECT m%d" % size, 7))
    print(f"{'':34}" + "".join(f"{size:>12,}" for size in sizes))
    for command, figures in results.items():
        print(f"{command.decode():34}" + "".join(f"{figure:12.3f}" for figure in figures))
    here.close()
    process.kill()


if __name__ == "__main__":
    main()
