"""`mailjam serve` as a process: what it prints, how it stops, and that a jam keeps it from stopping."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from harness.clients import Pop3Client, SmtpClient

ROOT = Path(__file__).parents[2]
PORTS = [word for name in ("smtp", "pop3", "imap", "nntp") for word in (f"--{name}-port", "0")]
SECONDS_MAX = 30

Process = asyncio.subprocess.Process


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[Process]:
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "harness.cli",
        "serve",
        *PORTS,
        "--no-tls",
        "--http-port",
        "off",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def read_until(running: Process, mark: str) -> str:
    assert running.stdout is not None
    text = ""
    async with asyncio.timeout(SECONDS_MAX):
        while mark not in text:
            line = await running.stdout.readline()
            assert line, text
            text += line.decode()
    return text


def addresses(banner: str) -> dict[str, tuple[str, int]]:
    found = re.findall(r"^ +([A-Z0-9]+) +(\S+) port (\d+)", banner, re.MULTILINE)
    return {name.lower(): (host, int(port)) for name, host, port in found}


Serve = Callable[..., Awaitable[tuple[Process, dict[str, tuple[str, int]], str]]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(*arguments: str) -> tuple[Process, dict[str, tuple[str, int]], str]:
            running = await stack.enter_async_context(process(*arguments))
            banner = await read_until(running, "Ctrl-C stops")
            return running, addresses(banner), banner

        yield start


async def send(address: tuple[str, int]) -> None:
    async with await SmtpClient.connect(address) as client:
        await client.hello()
        await client.send("a@b.test", ["alice@x.test"], b"Subject: x\r\n\r\nx\r\n")
        await client.command("QUIT", 221)


async def test_it_says_what_to_type_logs_sessions_and_stops(serve: Serve) -> None:
    running, found, banner = await serve("--user", "alice:secret", "--group", "misc.test")
    assert set(found) == {"smtp", "pop3", "imap", "nntp"}
    assert "accounts: alice" in banner
    await send(found["smtp"])
    assert re.search(r"smtp-\d+ from 127\.0\.0\.1:\d+: 5 commands, .* logout", await read_until(running, "logout"))
    running.send_signal(signal.SIGINT)
    assert "stopped" in await read_until(running, "stopped")
    assert await running.wait() == 0


async def login_when_there_is_mail(address: tuple[str, int]) -> Pop3Client:
    """A POP3 session sees what was in the maildrop at login: log in until the message has been converted."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            client = await Pop3Client.connect(address)
            await client.login("alice", "secret")
            if (await client.command("STAT")).split()[1] != b"0":
                return client
            await client.command("QUIT")
            await client.close()


async def test_a_jam_is_told_keeps_it_from_stopping_and_a_second_signal_kills(serve: Serve) -> None:
    jam = ("--build", "sp4", "--user", "alice:secret", "--jam", "q279798", "--after", "1")
    running, found, _ = await serve(*jam)
    await send(found["smtp"])
    client = await login_when_there_is_mail(found["pop3"])
    await send(found["smtp"])
    client.write(b"RETR 1\r\n")
    told = asyncio.ensure_future(read_until(running, "JAMMED:"))
    assert "JAMMED:" in await told
    running.send_signal(signal.SIGINT)
    pending = await read_until(running, "Ctrl-C kills it")
    assert "stays in `stop pending`" in pending
    assert "waits for" in pending
    running.send_signal(signal.SIGINT)
    assert "killed" in await read_until(running, "killed")
    assert await running.wait() == 1
    client.writer.transport.abort()


async def test_messages_of_a_folder_are_there_from_the_start(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice" / "a.eml").write_bytes(b"Subject: in a folder\n\nx\n")
    (tmp_path / "b.eml").write_bytes(b"To: alice@x.test\nSubject: by its recipient\n\nx\n")
    running, found, _ = await serve("--user", "alice:secret", "--load", str(tmp_path))
    async with await Pop3Client.connect(found["pop3"]) as client:
        await client.login("alice", "secret")
        assert (await client.command("STAT")).split()[1] == b"2"
        assert b"Subject: in a folder\r\n" in await client.retrieve(1)
    running.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running.wait(), SECONDS_MAX) == 0
