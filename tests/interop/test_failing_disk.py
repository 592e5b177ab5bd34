"""A disk that fails while the server runs: strace makes the kernel's answer to some of its system calls an error."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emulator.config import Account, Settings
from emulator.durable.check import check_directory
from emulator.server import Server
from harness.clients import Refused, SmtpClient

from .conftest import need

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = 60


@contextmanager
def serving(directory: Path, call: str, error: str, when: str) -> Iterator[tuple[str, int]]:
    """A server whose system calls fail; the address of its SMTP."""
    strace = need("strace", "strace")
    trace = directory.parent / "trace"
    command = [strace, "-f", "--seccomp-bpf", "-o", trace, "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:error={error}:when={when}"]
    command += [sys.executable, "-m", "harness.cli", "serve", "--quiet", "--no-tls", "--data", directory]
    command += ["--user", "alice:secret", "--http-port", "off", "--smtp-port", "0"]
    command += ["--pop3-port", "off", "--imap-port", "off", "--nntp-port", "off"]
    process = subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            match = re.match(r"\s+SMTP\s+(\S+) port (\d+)", line)
            if match:
                yield match[1], int(match[2])
                break
        else:
            if any("ptrace" in line.lower() or "not permitted" in line for line in said):
                pytest.skip("strace may not trace here")
            pytest.fail("the server did not start: " + "".join(said))
        assert process.poll() is None, "it goes on"
        assert "INJECTED" in trace.read_text(), "the disk did fail"
    finally:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for child in children.read_text().split() if children.exists() else []:
            os.kill(int(child), signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize(
    ("call", "error", "when"),
    [
        ("fdatasync", "EIO", "20..24"),
        ("pwrite64", "EIO", "90..110"),
        ("pwrite64", "ENOSPC", "90..110"),
    ],
)
async def test_what_was_refused_is_not_there_and_what_was_taken_is(
    tmp_path: Path, call: str, error: str, when: str
) -> None:
    directory = tmp_path / "data"
    taken: set[bytes] = set()
    answers: list[str] = []

    async def send(address: tuple[str, int], number: int) -> None:
        subject = b"message %d" % number
        async with await SmtpClient.connect(address, seconds_max=60) as smtp:
            await smtp.hello()
            try:
                await smtp.send(
                    "a@b.test",
                    ["alice"],
                    b"Subject: " + subject + b"\r\n\r\n" + os.urandom(900).hex().encode() + b"\r\n",
                )
                taken.add(subject)
            except Refused as refusal:
                answers.append(str(refusal))

    with serving(directory, call, error, when) as address:
        for number in range(MESSAGES):
            await send(address, number)
        assert taken, "it works again"
    assert len(taken) + len(answers) == MESSAGES
    assert all(answer.startswith("4") for answer in answers), answers
    assert check_directory(directory).problems == []
    async with Server(Settings(data=directory, accounts=(Account("alice", "secret"),), tls=False)) as server:
        await asyncio.wait_for(server.inbound.settled(), 60)
        found = [
            (await server.store.read(message)).structure.headers.get(b"Subject")
            for message in server.store.mailbox("alice").inbox.messages
        ]
    assert sorted((subject or b"").strip() for subject in found) == sorted(taken)
