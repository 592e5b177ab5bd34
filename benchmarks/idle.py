"""Idle IMAP connections: resident memory of the server for each. `python benchmarks/idle.py [10000] [--data]`."""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def resident_octets(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def start(*more: str) -> tuple[subprocess.Popen[str], dict[str, tuple[str, int]]]:
    """A server in a process of its own, and its addresses."""
    command = [sys.executable, "-m", "harness.cli", "serve", "--quiet", "--user", "alice:secret", *more]
    for name in ("smtp", "pop3", "imap", "nntp"):
        command += [f"--{name}-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    addresses = {}
    for line in process.stdout:
        match = re.match(r"\s+(\w+)\s+(\S+) port (\d+)", line)
        if match:
            addresses[match[1].lower()] = (match[2], int(match[3]))
        if "Ctrl-C" in line:
            break
    return process, addresses


async def idle_connection(address: tuple[str, int], gate: asyncio.Semaphore) -> asyncio.StreamWriter:
    async with gate:
        reader, writer = await asyncio.open_connection(*address)
        await reader.readline()
        writer.write(b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
        while not (await reader.readline()).startswith(b"+"):
            pass
        return writer


async def active(address: tuple[str, int], seconds: float) -> int:
    reader, writer = await asyncio.open_connection(*address)
    await reader.readline()
    writer.write(b"a LOGIN alice secret\r\nb SELECT INBOX\r\n")
    while not (await reader.readline()).startswith(b"b OK"):
        pass
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        writer.write(b"c NOOP\r\n")
        while not (await reader.readline()).startswith(b"c OK"):
            pass
        count += 1
    writer.close()
    return count


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("connections", type=int, nargs="?", default=10_000)
    parser.add_argument("--active", type=int, default=1_000)
    parser.add_argument("--data", action="store_true", help="with a durable store")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = tempfile.TemporaryDirectory()
    process, addresses = start(*(["--data", folder.name] if arguments.data else []))
    try:
        before = resident_octets(process.pid)
        began = time.perf_counter()
        gate = asyncio.Semaphore(200)
        writers = await asyncio.gather(
            *(idle_connection(addresses["imap"], gate) for _ in range(arguments.connections))
        )
        seconds = time.perf_counter() - began
        after = resident_octets(process.pid)
        print(
            f"{len(writers):,} idle IMAP connections in {seconds:.1f} s: {before / 1e6:.0f} MB before,"
            f" {after / 1e6:.0f} MB after, {(after - before) / len(writers) / 1024:.1f} KiB each"
        )
        counts = await asyncio.gather(*(active(addresses["imap"], 5.0) for _ in range(arguments.active)))
        print(f"{arguments.active:,} active beside them: {sum(counts) / 5:,.0f} commands/s")
        for writer in writers:
            writer.transport.abort()
    finally:
        process.kill()
        process.wait()
        folder.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
