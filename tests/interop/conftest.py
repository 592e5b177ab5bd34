"""What all tests with real programs share: finding the program, running it in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from emulator import certificates
from emulator.server import Server

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/lib/news/bin"
PROGRAM_SECONDS_MAX = 60


def need(program: str, package: str) -> str:
    """The path of a program, or a skip that says how to install it."""
    path = shutil.which(program) or shutil.which(program, path=PATH)
    if path is None:
        pytest.skip(f"{program} is not here: apt-get install {package}")
    return path


def free_port() -> int:
    """A port for a program that cannot choose one by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def run_program(
    *command: str | Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    given: bytes | None = None,
    allowed: tuple[int, ...] | None = (0,),
) -> str:
    """Run a program to its end; what it said. Fails the test when its code is none of `allowed` (None: any)."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        env={"HOME": str(folder), "PATH": PATH, "LC_ALL": "C.UTF-8", **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(PROGRAM_SECONDS_MAX):
        output, _ = await process.communicate(given)
    text = output.decode("utf-8", "replace")
    assert allowed is None or process.returncode in allowed, text
    return text


class ClientWorld:
    """A server, the authority that its clients have to trust, and a folder for their files."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(certificates.authority(None).pem)

    def write(self, name: str, text: str) -> Path:
        """A file that only its owner may read: clients insist on it for passwords."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path


class ImapWorld(ClientWorld):
    """The same for programs that come from anywhere on the path."""

    async def run(self, *command: str | Path, may_fail: bool = False, **environment: str) -> str:
        """Run a program to its end; what it said. Fails the test when it does not succeed."""
        about = {"PATH": os.environ["PATH"], **environment}
        return await run_program(*command, folder=self.folder, environment=about, allowed=None if may_fail else (0,))
