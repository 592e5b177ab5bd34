"""emulator/gateways/logon.py"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator.config import SettingsError
from emulator.gateways import MaildirConnector, ProcessConnector, WebhookConnector
from emulator.gateways.logon import parse_gateway
from harness.clients import SmtpClient

MESSAGE = b"From: a@x.test\r\nTo: alice@x.test\r\nSubject: s\r\n\r\nx\r\n"


def test_kinds(tmp_path: Path) -> None:
    maildir, port = parse_gateway(f"Notes.Example=maildir:{tmp_path}")
    assert isinstance(maildir, MaildirConnector)
    assert port is None
    assert maildir.takes("x@notes.example")
    webhook, port = parse_gateway("hook.example=webhook:8026:https://h.example:8443/a=b")
    assert isinstance(webhook, WebhookConnector)
    assert port == 8026
    assert parse_gateway("hook.example=webhook:http://h.example/")[1] is None
    process, _ = parse_gateway("fax.example=process:/usr/bin/fax --to '{}'")
    assert isinstance(process, ProcessConnector)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "notes.example",
        "notes.example=",
        "notes.example=/var/notes",
        "notes.example=ftp:host",
        "=maildir:/x",
        "a@b=maildir:/x",
        "h=webhook:file:///etc/passwd",
        "h=webhook:99999:http://x/",
        "h=webhook:http://",
        "p=process:'unclosed",
        "p=process: ",
        "m=maildir:/dev/null/x",
    ],
)
def test_what_cannot_be_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_gateway(text)
    assert "\n" not in str(caught.value)


async def test_gateways_of_the_settings_carry_mail(start_server: Any, tmp_path: Path) -> None:
    out = tmp_path / "taken"
    program = f"{sys.executable} -c \"import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())\" {out}"
    server = await start_server(
        gateways=(
            f"notes.test=maildir:{tmp_path / 'notes'}",
            f"fax.test=process:{program}",
            "hook.test=webhook:0:http://127.0.0.1:9/",
        ),
        strict_users=True,
        users=["alice:secret"],
    )
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@x.test", ["x@notes.test", "y@fax.test"], MESSAGE)
    async with asyncio.timeout(30):
        while not (server.mts.gateways["notes.test"].carried and server.mts.gateways["fax.test"].carried):
            await asyncio.sleep(0.01)
    assert out.read_bytes().endswith(MESSAGE)
    (path,) = (tmp_path / "notes" / "out" / "new").iterdir()
    assert path.read_bytes().endswith(MESSAGE)
    (tmp_path / "notes" / "in" / "new" / "1").write_bytes(MESSAGE)
    async with asyncio.timeout(30):
        while not server.store.mailbox("alice").inbox.messages:
            await asyncio.sleep(0.01)


async def test_one_gateway_for_a_domain(start_server: Any, tmp_path: Path) -> None:
    text = f"notes.test=maildir:{tmp_path}"
    with pytest.raises(SettingsError, match="already"):
        await start_server(gateways=(text, text))
