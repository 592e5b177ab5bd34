"""SMTP messages a second on kept connections: mailjam with all that is behind it, beside bare aiosmtpd.

    python benchmarks/smtp.py [--seconds 5] [--connections 8] [--octets 4096] [--pipelining] [--loop uvloop]

Servers and client run in processes of their own; the client is the same raw asyncio client for both.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))


def message(octets: int) -> bytes:
    head = (
        b"From: a@example.com\r\nTo: b@example.com\r\nSubject: benchmark\r\nMessage-ID: <%d@example.com>\r\n\r\n"
        % octets
    )
    line = b"The quick brown fox jumps over the lazy dog and back again. 0123456789\r\n"
    return (head + line * (octets // len(line) + 1))[: max(octets - 2, len(head))] + b"\r\n"


SECONDS_OVER_MAX = 30
"""How long a server may take beyond the time for which it is asked to work."""


def run_on(loop: str, coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it on asyncio's own loop or on uvloop."""
    with asyncio.Runner(loop_factory=importlib.import_module(loop).new_event_loop) as runner:
        runner.run(coroutine)


def serve_mailjam(pipe: Connection, loop: str) -> None:
    from emulator.config import Settings  # noqa: PLC0415 - each server in a process of its own
    from emulator.server import Server  # noqa: PLC0415

    async def run() -> None:
        async with Server(Settings()) as server:
            before = time.process_time()
            pipe.send(server.addresses["smtp"])
            await asyncio.to_thread(pipe.recv)
            waiting = server.inbound.awaiting_conversion
            started = time.perf_counter()
            await server.inbound.settled()
            pipe.send(
                (server.inbound.delivered_count, waiting, time.perf_counter() - started, time.process_time() - before)
            )

    run_on(loop, run())


def serve_aiosmtpd(pipe: Connection, loop: str) -> None:
    from aiosmtpd.smtp import SMTP  # noqa: PLC0415

    class Nothing:
        async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
            return "250 OK"

    async def run() -> None:
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: SMTP(Nothing(), hostname="localhost"), "127.0.0.1", 0)
        before = time.process_time()
        pipe.send(listener.sockets[0].getsockname())
        await asyncio.to_thread(pipe.recv)
        pipe.send((0, 0, 0.0, time.process_time() - before))

    run_on(loop, run())


class Client(asyncio.Protocol):
    """Sends messages as fast as replies come."""

    def __init__(self, octets: bytes, until: float, pipelining: bool, recipients: int) -> None:
        rcpt = b"".join(b"RCPT TO:<user%d@example.com>\r\n" % n for n in range(recipients))
        head = b"MAIL FROM:<a@example.com>\r\n" + rcpt + b"DATA\r\n"
        lines = head.splitlines(keepends=True)
        self.steps = [(head, len(lines))] if pipelining else [(line, 1) for line in lines]
        self.steps.append((octets.replace(b"\r\n.", b"\r\n..") + b".\r\n", 1))
        self.until = until
        self.sent = 0
        self.latencies: list[float] = []
        self.step = -2
        self.replies_wanted = 1
        self.rest = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b" ":
                if line[0] not in b"23":
                    self.done.set_exception(RuntimeError(line.decode()))
                    return
                self.replies_wanted -= 1
        if not self.replies_wanted:
            self.go_on()

    def go_on(self) -> None:
        self.step += 1
        if self.step == -1:
            self.replies_wanted = 1
            self.transport.write(b"EHLO client.example.com\r\n")
            return
        if self.step == len(self.steps):
            self.sent += 1
            self.latencies.append(time.perf_counter() - self.started)
            self.step = 0
        if self.step == 0:
            self.started = time.perf_counter()
            if self.started >= self.until:
                self.transport.close()
                self.done.set_result(None)
                return
        octets, self.replies_wanted = self.steps[self.step]
        self.transport.write(octets)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"the server closed the connection: {exc}"))


async def load(address: tuple[str, int], arguments: argparse.Namespace) -> tuple[float, list[float]]:
    octets = message(arguments.octets)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    until = started + arguments.seconds
    clients = []
    for _ in range(arguments.connections):
        _, client = await loop.create_connection(
            lambda: Client(octets, until, arguments.pipelining, arguments.recipients), *address[:2]
        )
        clients.append(client)
    async with asyncio.timeout(arguments.seconds + SECONDS_OVER_MAX):
        await asyncio.gather(*(client.done for client in clients))
    latencies = sorted(latency for client in clients for latency in client.latencies)
    return sum(client.sent for client in clients) / (time.perf_counter() - started), latencies


def answer_of(pipe: Connection) -> Any:
    """What the server tells. Raises EOFError when it ended, TimeoutError when it says nothing."""
    if not pipe.poll(SECONDS_OVER_MAX):
        raise TimeoutError
    return pipe.recv()


def measure(name: str, serve: Callable[[Connection, str], None], arguments: argparse.Namespace) -> str:
    """One line about one server. Raises EOFError, OSError, TimeoutError, RuntimeError when it fails."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, arguments.loop), daemon=True)
    process.start()
    theirs.close()  # so that the end of the server is the end of the pipe
    try:
        rate, latencies = asyncio.run(load(answer_of(ours), arguments))
        ours.send("stop")
        delivered, waiting, seconds, processor = answer_of(ours)
    finally:
        process.join(1)
        process.kill()
    half, late = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
    return (
        f"{name:9} {rate:7.0f} messages/s  {rate * arguments.octets / 1e6:6.1f} MB/s"
        f"  p50 {half * 1e3:.2f} ms  p99 {late * 1e3:.2f} ms"
        f"  server {processor / len(latencies) * 1e6:.0f} us of processor time a message"
        + (f"  delivered {delivered}; {waiting} were waiting, done {seconds:.2f} s later" if delivered else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--recipients", type=int, default=1)
    parser.add_argument("--pipelining", action="store_true")
    parser.add_argument("--only", choices=["mailjam", "aiosmtpd"])
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio", help="of the servers")
    arguments = parser.parse_args()
    for name, serve in {"aiosmtpd": serve_aiosmtpd, "mailjam": serve_mailjam}.items():
        if arguments.only in (None, name):
            try:
                print(measure(name, serve, arguments))
            except (EOFError, OSError, TimeoutError, RuntimeError) as error:
                sys.exit(f"{name} failed: {type(error).__name__} {error}")


if __name__ == "__main__":
    main()
