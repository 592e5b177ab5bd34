"""Messages and articles a second, read over real sockets from a server in a process of its own.

    python benchmarks/pop3_nntp.py [--messages 2000] [--octets 4096] [--batch 200]

The client writes `--batch` commands in one piece and reads all answers; `one by one` waits for each answer. Figures are
the best of three runs. The second column is processor time of the server for one command.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from emulator.config import Account, Settings
from emulator.server import Server
from protocols.ports import Target

RUNS = 3


def message(number: int, octets: int) -> bytes:
    head = (
        f"Path: x!not-for-mail\r\nFrom: a@example.com\r\nNewsgroups: misc.test\r\nSubject: benchmark {number}\r\n"
        f"Date: Mon, 01 Jan 2024 12:00:00 +0000\r\nMessage-ID: <{number}@example.com>\r\n\r\n"
    ).encode()
    line = b"The quick brown fox jumps over the lazy dog and back again. 0123456789\r\n"
    return head + line * max(1, (octets - len(head)) // len(line))


def serve(pipe: Connection, messages: int, octets: int) -> None:
    async def run() -> None:
        async with Server(Settings(accounts=(Account("alice", "secret"),), groups=("misc.test",))) as server:
            inbox = (await server.directory.recipient("alice")).inbox
            group = server.store.newsgroups["misc.test"]
            for number in range(messages):
                await server.converter.put(message(number, octets), [Target(inbox), Target(group)])
            pipe.send((server.addresses["pop3"], server.addresses["nntp"]))
            while await asyncio.to_thread(pipe.recv):
                pipe.send(time.process_time())

    asyncio.run(run())


class Client:
    """A blocking client that counts the ends of answers rather than parsing them."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wait(b"\r\n", 1)

    def wait(self, end: bytes, count: int) -> None:
        """Read until `end` was seen so many times."""
        rest = b""
        while count > 0:
            data = self.socket.recv(1 << 18)
            if not data:
                raise ConnectionError("the server closed")
            data = rest + data
            count -= data.count(end)
            rest = data[-(len(end) - 1) :] if not data.endswith(end) else b""

    def say(self, commands: bytes, end: bytes, count: int) -> None:
        self.socket.sendall(commands)
        self.wait(end, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=200)
    options = parser.parse_args()
    pipe, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(theirs, options.messages, options.octets), daemon=True)
    process.start()
    pop3_address, nntp_address = pipe.recv()
    pop3 = Client(pop3_address)
    pop3.say(b"USER alice\r\n", b"\r\n", 1)
    pop3.say(b"PASS secret\r\n", b"\r\n", 1)
    nntp = Client(nntp_address)
    nntp.say(b"GROUP misc.test\r\n", b"\r\n", 1)
    count, batch = options.messages, options.batch

    def server_seconds() -> float:
        pipe.send(True)
        seconds: float = pipe.recv()
        return seconds

    def measure(title: str, commands: int, run: Callable[[], None]) -> None:
        best, busy = float("inf"), 0.0
        for _ in range(RUNS):
            before, started = server_seconds(), time.perf_counter()
            run()
            seconds = time.perf_counter() - started
            if seconds < best:
                best, busy = seconds, server_seconds() - before
        print(f"{title:<44} {commands / best:>10,.0f}/s {busy / commands * 1e6:>9.1f} µs")

    def sweep(client: Client, verb: bytes, end: bytes, size: int) -> Callable[[], None]:
        def run() -> None:
            for start in range(1, count + 1, size):
                numbers = range(start, min(start + size, count + 1))
                client.say(b"".join(b"%b %d\r\n" % (verb, n) for n in numbers), end, len(numbers))

        return run

    print(f"{count} messages of {options.octets} octets, batches of {batch}")
    block, line = b"\r\n.\r\n", b"\r\n"
    measure("POP3 RETR, pipelined", count, sweep(pop3, b"RETR", block, batch))
    measure("POP3 RETR, one by one", count, sweep(pop3, b"RETR", block, 1))
    measure("POP3 TOP n 0, pipelined", count, sweep_top(pop3, count, batch))
    measure("POP3 LIST of all", 1, lambda: pop3.say(b"LIST\r\n", block, 1))
    measure("POP3 UIDL of all", 1, lambda: pop3.say(b"UIDL\r\n", block, 1))
    measure("NNTP ARTICLE, pipelined", count, sweep(nntp, b"ARTICLE", block, batch))
    measure("NNTP ARTICLE, one by one", count, sweep(nntp, b"ARTICLE", block, 1))
    measure("NNTP HEAD, pipelined", count, sweep(nntp, b"HEAD", block, batch))
    measure("NNTP STAT, pipelined", count, sweep(nntp, b"STAT", line, batch))
    measure(f"NNTP OVER of {count}", 1, lambda: nntp.say(b"OVER 1-\r\n", block, 1))
    measure(f"NNTP HDR Subject of {count}", 1, lambda: nntp.say(b"HDR Subject 1-\r\n", block, 1))
    measure(f"NNTP XPAT Subject of {count}", 1, lambda: nntp.say(b"XPAT Subject 1- *9*\r\n", block, 1))
    measure("NNTP TAKETHIS, pipelined", count, taking(nntp, count, options.octets, batch))
    pipe.send(False)
    process.join(10)


def sweep_top(client: Client, count: int, size: int) -> Callable[[], None]:
    def run() -> None:
        for start in range(1, count + 1, size):
            numbers = range(start, min(start + size, count + 1))
            client.say(b"".join(b"TOP %d 0\r\n" % n for n in numbers), b"\r\n.\r\n", len(numbers))

    return run


def taking(client: Client, count: int, octets: int, size: int) -> Callable[[], None]:
    rounds = iter(range(10**6))

    def run() -> None:
        base = (next(rounds) + 1) * 10**7
        for start in range(base, base + count, size):
            numbers = range(start, min(start + size, base + count))
            pieces = [b"TAKETHIS <%d@example.com>\r\n%b.\r\n" % (n, message(n, octets)) for n in numbers]
            client.say(b"".join(pieces), b"\r\n", len(numbers))

    return run


if __name__ == "__main__":
    main()
