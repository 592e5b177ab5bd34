"""What `harness.lockdep` costs where nothing is wrong.

Two figures: nanoseconds added to an uncontended acquire and release, and the run time of lock-heavy programs, watched
against not watched, all in processor time. Method: the two are measured in turn, `--rounds` times each, in one process,
the garbage collector on and run before each; the figures are the median of the ratios of neighbouring rounds, with its
quartiles for the noise, and the ratio of the least disturbed rounds.

    python benchmarks/lockdep_overhead.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import asyncio
import email
import email.policy
import gc
import json
import statistics
import threading
import time
from collections.abc import Callable

from harness import lockdep

MESSAGE = (
    b"From: a@example.org\r\nTo: b@example.org\r\nSubject: a message like many others\r\n"
    b"Date: Tue, 24 Nov 2026 06:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\n" + b"A line of text like any other.\r\n" * 20
)


async def mail_store(messages: int = 600, workers: int = 8) -> None:
    """Workers take messages from a queue, convert each under two nested locks and file it under a third."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(16)
    imail, store, index = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
    pool = asyncio.Semaphore(4)
    filed: dict[str, int] = {}

    async def worker() -> None:
        while (raw := await queue.get()) is not None:
            async with pool:
                async with imail, store:
                    message = email.message_from_bytes(raw, policy=email.policy.compat32)
                async with index:
                    filed[message["Message-ID"]] = len(raw)
                    await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())
        for _ in range(messages):
            await queue.put(MESSAGE)
        for _ in range(workers):
            await queue.put(None)


async def service(requests: int = 1_500, clients: int = 6) -> None:
    """A server on a loopback socket: each request takes a permit and three locks around small work, and is answered."""
    pool, store, index, log = asyncio.Semaphore(4), asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
    records: dict[str, str] = {}
    lines: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            async with pool:
                request = json.loads(line)
                async with store:
                    async with index:
                        records[request["key"]] = json.dumps(request["value"])
                    answer = records[request["key"]]
                async with log:
                    lines.append(request["key"])
                writer.write(answer.encode() + b"\n")
                await writer.drain()
        writer.close()

    async def client(number: int, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(requests // clients):
            writer.write(json.dumps({"key": f"{number}-{turn % 20}", "value": list(range(20))}).encode() + b"\n")
            await reader.readline()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(number, server.sockets[0].getsockname()[1]))


async def cache(requests: int = 4_000, clients: int = 20) -> None:
    """Clients look up and change JSON records, a lock per record and one for the directory."""
    directory = asyncio.Lock()
    locks = [asyncio.Lock() for _ in range(32)]
    records = [json.dumps({"n": 0, "tags": list(range(40))}) for _ in range(32)]

    async def client(number: int) -> None:
        for turn in range(requests // clients):
            key = (number * 7 + turn) % 32
            async with directory:
                lock = locks[key]
            async with lock:
                record = json.loads(records[key])
                record["n"] += 1
                records[key] = json.dumps(record)
            if turn % 10 == 0:
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(number))


def threads(turns: int = 1_500, count: int = 4) -> None:
    """Threads change JSON records under two nested locks."""
    outer, inner = threading.Lock(), threading.RLock()
    records = [json.dumps({"n": 0, "tags": list(range(40))})]

    def body() -> None:
        for _ in range(turns):
            with outer, inner:
                record = json.loads(records[0])
                record["n"] += 1
                records[0] = json.dumps(record)

    members = [threading.Thread(target=body) for _ in range(count)]
    for member in members:
        member.start()
    for member in members:
        member.join()


async def pairs(count: int, nested: bool) -> float:
    """Seconds for `count` uncontended acquire-release pairs (nested: each inside another lock that is held)."""
    lock, outer = asyncio.Lock(), asyncio.Lock()
    if nested:
        await outer.acquire()
    start = time.process_time()
    for _ in range(count):
        async with lock:
            pass
    elapsed = time.process_time() - start
    if nested:
        outer.release()
    return elapsed


def timed(program: Callable[[], object]) -> float:
    gc.collect()
    start = time.process_time()
    program()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for nested in (False, True):
        plain, watched = [], []
        for _ in range(rounds):
            plain.append(asyncio.run(pairs(20_000, nested)) / 20_000)
            with lockdep.watch():
                watched.append(asyncio.run(pairs(20_000, nested)) / 20_000)
        one, two = min(plain) * 1e9, min(watched) * 1e9
        print(f"uncontended pair{', nested' if nested else '':8} {one:7.0f} ns -> {two:7.0f} ns  (+{two - one:.0f} ns)")
    programs: dict[str, Callable[[], object]] = {
        "service": lambda: asyncio.run(service()),
        "mail store": lambda: asyncio.run(mail_store()),
        "record cache": lambda: asyncio.run(cache()),
        "threads": threads,
    }
    for name, program in programs.items():
        plain, watched = [], []
        program()
        for _ in range(rounds):
            plain.append(timed(program))
            with lockdep.watch() as watch:
                watched.append(timed(program))
            assert watch.findings() == [], watch.text()
        low, middle, high = statistics.quantiles([two / one - 1 for one, two in zip(plain, watched, strict=True)], n=4)
        least = min(watched) / min(plain) - 1
        print(
            f"{name:<14} {statistics.median(plain) * 1e3:7.1f} ms: {middle * 100:+.1f} % watched "
            f"({low * 100:+.1f} to {high * 100:+.1f}), {least * 100:+.1f} % (least disturbed rounds)"
        )


if __name__ == "__main__":
    main()
