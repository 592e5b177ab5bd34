"""Postfix as a sender into mailjam, and as its smart host; its own replies to the SMTP cases for calibration.

Where Postfix's reply codes differ from those of the cases is a table, `smtp_postfix_differences.json`;
`MAILJAM_CALIBRATE=1` writes it anew.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.events import MessageDelivered, MessageRelayed
from emulator.server import Server
from harness.dialogue import Case, read_cases

from .conftest import free_port, need, run_program

pytestmark = pytest.mark.interop

MASTER = """
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """An instance of its own: configuration, queue and log below one folder."""

    def __init__(self, folder: Path, **parameters: str) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        for name in ("etc", "queue", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        main = {
            "compatibility_level": "3.6",
            "queue_directory": f"{folder}/queue",
            "data_directory": f"{folder}/data",
            "maillog_file": f"{folder}/log",
            "maillog_file_prefixes": f"{folder}",
            "myhostname": "postfix.example",
            "mydestination": "",
            "local_recipient_maps": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "smtp_host_lookup": "native",
            "smtpd_tls_security_level": "none",
            **parameters,
        }
        (folder / "etc" / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))
        (folder / "etc" / "master.cf").write_text(MASTER.format(port=self.port))

    def __enter__(self) -> Postfix:
        self.control("start")
        return self

    def __exit__(self, *_: object) -> None:
        self.control("stop")

    def control(self, *arguments: str) -> None:
        done = subprocess.run(
            ["postfix", "-c", self.folder / "etc", *arguments], capture_output=True, check=False, timeout=40
        )
        assert done.returncode == 0, done.stderr.decode() + self.log

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""


@pytest.fixture
def postfix_folder() -> Iterator[Path]:
    """A folder that Postfix's own user can reach; pytest's are for their owner only."""
    reason = ""
    if shutil.which("postfix") is None:
        reason = "postfix is not here: apt-get install postfix"
    elif os.geteuid() != 0:
        reason = "postfix starts as root only"
    if reason:
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def delivered(server: Server, name: str, count: int) -> list[bytes]:
    """The messages of a mailbox, once there are so many."""
    event = asyncio.Event()
    server.bus.on(MessageDelivered, lambda _: event.set())
    async with asyncio.timeout(40):
        while name not in server.store.mailboxes or len(server.store.mailboxes[name].inbox.messages) < count:
            event.clear()
            await event.wait()
    return [await server.converter.octets(message) for message in server.store.mailboxes[name].inbox.messages]


@pytest.mark.parametrize("tls", ["none", "encrypt"])
async def test_postfix_sends_into_mailjam_and_its_queue_drains(
    postfix_folder: Path, tls: str, start_server: Any
) -> None:
    server: Server = await start_server(pop3_port=None, nntp_port=None)
    relayhost = f"[127.0.0.1]:{server.addresses['smtp'][1]}"
    postfix = Postfix(postfix_folder, relayhost=relayhost, smtp_tls_security_level=tls)
    with postfix:
        for number in range(20):
            text = f"From: a@postfix.example\nSubject: {number}\n\n.dot\ngr\u00fc\u00dfe\n"
            command = ["sendmail", "-C", postfix_folder / "etc", "-f", "a@postfix.example", "-i", "b@here.example"]
            await asyncio.to_thread(subprocess.run, command, input=text.encode(), check=True, timeout=30)
        messages = await delivered(server, "b@here.example", 20)
        assert all(message.endswith("\r\n\r\n.dot\r\ngrüße\r\n".encode()) for message in messages), postfix.log
        kind = b"with ESMTPS id" if tls == "encrypt" else b"with ESMTP id"
        assert all(kind in message for message in messages)


async def test_postfix_delivers_by_lmtp(postfix_folder: Path, start_server: Any) -> None:
    server: Server = await start_server(lmtp_port=0, users=["b:x"], strict_users=True, pop3_port=None, nntp_port=None)
    transport = f"lmtp:inet:127.0.0.1:{server.addresses['lmtp'][1]}"
    with Postfix(postfix_folder, default_transport=transport) as postfix:
        recipients = ["b@here.example", "nobody@here.example", "b+tag@here.example"]
        command = ["sendmail", "-C", postfix_folder / "etc", "-f", "b@here.example", "-i", *recipients]
        await asyncio.to_thread(subprocess.run, command, input=b"Subject: lmtp\n\nx\n", check=True, timeout=30)
        messages = await delivered(server, "b", 2)  # the message, and Postfix's report of the unknown user
        assert any(b"with LMTP id" in message for message in messages), postfix.log
        assert any(b"nobody@here.example" in message and b"5.1.1" in message for message in messages), postfix.log


async def test_postfix_is_the_smart_host(postfix_folder: Path, start_server: Any) -> None:
    """mailjam → Postfix → a second mailjam; what Postfix refuses is returned."""
    far: Server = await start_server(hostname="far.example", pop3_port=None, nntp_port=None)
    postfix = Postfix(
        postfix_folder,
        relayhost=f"[127.0.0.1]:{far.addresses['smtp'][1]}",
        smtpd_recipient_restrictions="check_recipient_access inline:{nobody@far.example=REJECT},permit",
    )
    with postfix:
        near: Server = await start_server(
            hostname="near.example", domains=("near.example",), smarthost=f"127.0.0.1:{postfix.port}", imap_port=None
        )
        relayed = asyncio.Event()
        near.bus.on(MessageRelayed, lambda _: relayed.set())
        text = b"Subject: by postfix\r\n\r\n.dot\r\n"
        await near.submission.submit("a@near.example", ["b@far.example", "nobody@far.example"], text, {})
        (message,) = await delivered(far, "b@far.example", 1)
        assert message.endswith(text[len("Subject: by postfix") :])
        (report,) = await delivered(near, "a@near.example", 1)
        assert b"Final-Recipient: rfc822;nobody@far.example" in report
        assert b"Status: 5.7.1" in report
        await asyncio.wait_for(relayed.wait(), 10)
        assert not near.outbound.entries


async def test_smtp_source_sends_and_smtp_sink_is_the_smart_host(tmp_path: Path, start_server: Any) -> None:
    """Postfix's test programs: ten sessions at once come in, and all of it goes out again."""
    source, sink = need("smtp-source", "postfix"), need("smtp-sink", "postfix")
    port = free_port()
    listening = [] if os.geteuid() else ["-u", "root"]
    process = await asyncio.create_subprocess_exec(
        sink, *listening, "-D", tmp_path / "mail.", f"127.0.0.1:{port}", "100", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        server: Server = await start_server(smarthost=f"127.0.0.1:{port}", domains=("near.example",), imap_port=None)
        relayed: list[str] = []
        done = asyncio.Event()

        def note(event: MessageRelayed) -> None:
            relayed.append(event.spool_name)
            if len(relayed) == 100:
                done.set()

        server.bus.on(MessageRelayed, note)
        people = ["-f", "a@near.example", "-t", "b@far.example"]
        await run_program(
            *(source, "-s", "10", "-m", "100", "-l", "4096", *people, f"127.0.0.1:{server.addresses['smtp'][1]}"),
            folder=tmp_path,
        )
        await asyncio.wait_for(done.wait(), 40)
        assert not server.outbound.entries
    finally:
        process.terminate()
        await process.wait()
    messages = b"".join(path.read_bytes() for path in tmp_path.glob("mail.*"))
    assert messages.count(b"X-Rcpt-Args: <b@far.example>") == 100


DIFFERENCES = Path(__file__).with_name("smtp_postfix_differences.json")
CASES = [
    case
    for case in read_cases(Path(__file__).parent.parent / "dialogues" / "smtp")
    if case.needs == [("smtp", "")] and all(step.connection == 1 for step in case.steps)
]


def expected_codes(case: Case) -> list[list[str]]:
    """The codes that the case expects behind each thing the client says, the greeting first."""
    groups: list[list[str]] = [[]]
    for step in case.steps:
        if step.side == "C":
            groups.append([])
        elif step.kind in ":~*" and not re.match(r"\d{3}-", step.text):
            groups[-1].append(step.text[:3])
    return groups


async def codes_of(case: Case, port: int) -> list[list[str]]:
    """The codes that come back for what the client of the case says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    groups: list[list[str]] = []
    said = [None, *(step for step in case.steps if step.side == "C")]
    try:
        for step, wanted in zip(said, expected_codes(case), strict=True):
            if step is not None:
                octets = (
                    codecs.escape_decode(step.text.encode())[0] if step.kind == "<" else step.text.encode() + b"\r\n"
                )
                assert isinstance(octets, bytes)
                writer.write(octets)
            got = []
            for _ in wanted:
                try:
                    async with asyncio.timeout(1):
                        while (line := await reader.readline())[3:4] == b"-":
                            pass
                except TimeoutError:
                    line = b"nothing"
                got.append(line[:3].decode("latin-1") or "end")
            groups.append(got)
            if got and got[-1] in ("end", "not"):
                break
    except ConnectionError:
        groups.append(["end"])
    writer.close()
    return groups


@pytest.mark.timeout(240)
async def test_calibration(postfix_folder: Path) -> None:
    assert len(CASES) > 100
    found: dict[str, dict[str, str]] = {}
    with Postfix(postfix_folder, smtpd_error_sleep_time="0", smtpd_client_restrictions="permit") as postfix:
        for case in CASES:
            ours, theirs = expected_codes(case), await codes_of(case, postfix.port)
            if ours != theirs:
                flat = [" ".join(code for group in groups for code in group) for groups in (ours, theirs)]
                if flat[0] != flat[1]:
                    found[case.title] = {"mailjam": flat[0], "postfix": flat[1]}
    if os.environ.get("MAILJAM_CALIBRATE"):
        DIFFERENCES.write_text(json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
    known = json.loads(DIFFERENCES.read_text("utf-8"))
    assert set(found) <= set(known), {title: found[title] for title in set(found) - set(known)}
