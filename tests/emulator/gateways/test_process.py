"""emulator/gateways/process.py"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator.gateways import ProcessConnector
from emulator.gateways.process import ERROR_OCTETS_MAX, ProcessFailed
from emulator.imail import inbound
from emulator.mts import Refused, Transfer

MESSAGE = b"From: a@gateway.test\r\nSubject: s\r\n\r\nx\r\n"
WRITE = """
import sys
with open(sys.argv[1], "wb") as file:
    file.write(repr(sys.argv[2:]).encode() + b"\\n" + sys.stdin.buffer.read())
"""


async def deliver(connector: ProcessConnector, *recipients: str) -> None:
    await connector.deliver(Transfer("a@b", recipients, MESSAGE), inbound(MESSAGE))


async def test_a_program_gets_message_and_recipients(tmp_path: Path) -> None:
    out = tmp_path / "out"
    connector = ProcessConnector("process", ["gateway.test"], [sys.executable, "-c", WRITE, str(out)])
    await deliver(connector, "b@gateway.test", "-flag@gateway.test")
    assert out.read_bytes() == b"['b@gateway.test']\n" + MESSAGE
    assert not connector.takes("-flag@gateway.test")


def program(code: str, **options: float) -> ProcessConnector:
    return ProcessConnector("process", ["gateway.test"], [sys.executable, "-c", code], **options)


async def test_failures() -> None:
    with pytest.raises(ProcessFailed, match="no room"):
        await deliver(program("import sys; sys.exit('no room')"), "b@c")
    with pytest.raises(ProcessFailed, match="longer than"):
        await deliver(program("import time; time.sleep(60)", seconds_max=0.2), "b@c")
    with pytest.raises(FileNotFoundError):
        await deliver(ProcessConnector("process", [], ["/there/is/no/such/program"]), "b@c")


async def test_exit_codes_that_say_never() -> None:
    for code in (os.EX_NOUSER, os.EX_NOHOST, os.EX_NOPERM):
        with pytest.raises(Refused, match=f"exited with {code}"):
            await deliver(program(f"import os; os._exit({code})"), "b@c")
    for code in (os.EX_TEMPFAIL, os.EX_SOFTWARE):
        with pytest.raises(ProcessFailed, match=f"exited with {code}"):
            await deliver(program(f"import os; os._exit({code})"), "b@c")


async def test_a_program_that_is_killed() -> None:
    with pytest.raises(ProcessFailed, match="exited with -9"):
        await deliver(program("import os; os.kill(os.getpid(), 9)"), "b@c")


async def test_a_program_that_babbles() -> None:
    babble = "import os\nfor _ in range(100): os.write(1, b'x' * 65536), os.write(2, b'y' * 65536)\nos._exit(%d)"
    await deliver(program(babble % 0), "b@c")
    with pytest.raises(ProcessFailed) as caught:
        await deliver(program(babble % 1), "b@c")
    assert len(str(caught.value)) < 2 * ERROR_OCTETS_MAX


@pytest.mark.parametrize("closed", [0, 1, 2])
async def test_a_program_that_closes_its_files(closed: int) -> None:
    large = b"Subject: s\r\n\r\n" + b"x" * (1 << 20)
    connector = program(f"import os; os.close({closed}); os._exit(0)")
    await connector.deliver(Transfer("a@b", ("b@c",), large), inbound(large))


async def test_a_program_whose_child_lives_on(tmp_path: Path) -> None:
    code = "import os, time\nif os.fork() == 0: time.sleep(2)\nos._exit(0)"
    await deliver(program(code), "b@c")


async def test_a_slow_program_whose_children_are_ended_with_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = f"import subprocess; subprocess.run(['/bin/sh', '-c', 'echo $$ > {out}; sleep 60'])"
    with pytest.raises(ProcessFailed, match="longer than"):
        await deliver(program(code, seconds_max=1.0), "b@c")
    if out.exists():
        status = Path(f"/proc/{out.read_text().strip()}/stat")
        async with asyncio.timeout(30):
            while status.exists() and status.read_text().split(")")[1].split()[0] != "Z":
                await asyncio.sleep(0.01)


async def test_what_a_program_does_not_take_leaves_later(start_server: Any, tmp_path: Path) -> None:
    server = await start_server(gateway_retry_seconds_min=0.01)
    ready, out = tmp_path / "ready", tmp_path / "out"
    code = f"import os, sys\nif not os.path.exists({str(ready)!r}): os._exit({os.EX_TEMPFAIL})\n"
    code += f"open({str(out)!r}, 'wb').write(sys.stdin.buffer.read())"
    gateway = server.mts.log_on(program(code))
    await server.mts.carry("a@x.test", ["b@gateway.test"], MESSAGE)
    async with asyncio.timeout(30):
        while not gateway.failures:
            await asyncio.sleep(0.01)
        ready.touch()
        while not gateway.carried:
            await asyncio.sleep(0.01)
    assert out.read_bytes() == MESSAGE
