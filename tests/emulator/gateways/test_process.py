"""emulator/gateways/process.py"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emulator.gateways import ProcessConnector
from emulator.gateways.process import ProcessFailed
from emulator.imail import inbound
from emulator.mts import Transfer

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


async def test_failures() -> None:
    fails = ProcessConnector("process", [], [sys.executable, "-c", "import sys; sys.exit('no room')"])
    with pytest.raises(ProcessFailed, match="no room"):
        await deliver(fails, "b@c")
    hangs = ProcessConnector("process", [], [sys.executable, "-c", "import time; time.sleep(60)"], seconds_max=0.2)
    with pytest.raises(ProcessFailed, match="longer than"):
        await deliver(hangs, "b@c")
