"""emulator/gateways/webhook.py"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from emulator.gateways import WebhookConnector
from emulator.gateways.webhook import WebhookError
from emulator.imail import inbound
from emulator.mts import Refused, Transfer
from emulator.spool import MTS_IN
from harness.clients import Pop3Client
from harness.gates import Gates
from protocols.ports import Unavailable

MESSAGE = b"From: a@gateway.test\r\nTo: alice@x.test\r\nSubject: gr\xc3\xbc\xc3\x9fe\r\n\r\nx\r\n"


async def serve_once(answer: bytes) -> tuple[asyncio.Server, list[bytes]]:
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        bodies.append(await reader.readexactly(length))
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    return await asyncio.start_server(serve, "127.0.0.1", 0), bodies


async def test_out() -> None:
    server, bodies = await serve_once(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        connector = WebhookConnector("hook", ["gateway.test"], url)
        await asyncio.to_thread(
            connector.deliver, Transfer("alice@x.test", ("b@gateway.test",), MESSAGE), inbound(MESSAGE)
        )
    document = json.loads(bodies[0])
    assert document["subject"] == "grüße"
    assert document["recipients"] == ["b@gateway.test"]
    assert base64.b64decode(document["mime"]) == MESSAGE


async def test_an_answer_that_is_no_success_is_an_error() -> None:
    server, _ = await serve_once(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(WebhookError, match="500"):
            await asyncio.to_thread(
                WebhookConnector("hook", [], url).deliver, Transfer("", ("b@c",), MESSAGE), inbound(MESSAGE)
            )
    with pytest.raises(WebhookError):
        await asyncio.to_thread(
            WebhookConnector("hook", [], url).deliver, Transfer("", ("b@c",), MESSAGE), inbound(MESSAGE)
        )


async def test_an_answer_that_will_not_change_is_a_refusal() -> None:
    server, _ = await serve_once(b"HTTP/1.1 422 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(Refused, match="422"):
            await asyncio.to_thread(
                WebhookConnector("hook", [], url).deliver, Transfer("", ("b@c",), MESSAGE), inbound(MESSAGE)
            )


def test_only_http() -> None:
    with pytest.raises(ValueError, match="http"):
        WebhookConnector("hook", [], "file:///etc/passwd")


async def request(port: int, octets: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(octets)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.split(b" ")[1]


async def test_in(start_server: Any) -> None:
    server = await start_server(users=["alice:secret", "bob:secret"])
    connector = WebhookConnector("hook", ["gateway.test"], "http://127.0.0.1:9/")
    gateway = server.mts.log_on(connector)
    async with await connector.listen(server.mts) as listener:
        port = listener.sockets[0].getsockname()[1]
        length = b"Content-Length: %d\r\n" % len(MESSAGE)
        assert await request(port, b"POST / HTTP/1.1\r\n" + length + b"\r\n" + MESSAGE) == b"202"
        assert (
            await request(port, b"POST / HTTP/1.1\r\nX-Recipients: bob@x.test\r\n" + length + b"\r\n" + MESSAGE)
            == b"202"
        )
        assert await request(port, b"GET / HTTP/1.1\r\n\r\n") == b"405"
        assert await request(port, b"POST / HTTP/1.1\r\n\r\n") == b"400"
        assert await request(port, b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n") == b"413"
        assert await request(port, b"POST / HTTP/1.1\r\n" + length + b"\r\n") == b"400"
        assert await request(port, b"nonsense") == b"400"
    await gateway.settled()
    for name in ("alice", "bob"):
        (message,) = server.store.mailbox(name).inbox.messages
        assert await server.converter.octets(message) == MESSAGE


def posted(subject: bytes, *, to: bytes = b"alice@x.test") -> bytes:
    octets = b"Subject: " + subject + b"\r\n\r\nx\r\n"
    return b"POST / HTTP/1.1\r\nX-Recipients: %b\r\nContent-Length: %d\r\n\r\n%b" % (to, len(octets), octets)


async def test_what_was_accepted_is_on_disk_and_survives_a_kill(start_server: Any, tmp_path: Path) -> None:
    first = await start_server(users=["alice:secret"], data=tmp_path)
    Gates(first.scheduler).hold("inbound.convert")
    connector = WebhookConnector("hook", ["gateway.test"], "http://127.0.0.1:9/")
    first.mts.log_on(connector)
    async with await connector.listen(first.mts) as listener:
        port = listener.sockets[0].getsockname()[1]
        for number in range(3):
            assert await request(port, posted(b"%d" % number)) == b"202"
    assert len(await first.spool.names(MTS_IN)) == 3
    assert not first.store.mailboxes["alice"].inbox.messages
    await first.kill()
    for _ in range(2):  # and once only
        again = await start_server(users=["alice:secret"], data=tmp_path)
        gateway = again.mts.log_on(connector)
        async with asyncio.timeout(30):
            while len(again.store.mailboxes["alice"].inbox.messages) < 3 or await again.spool.names(MTS_IN):
                await asyncio.sleep(0.01)
        await gateway.settled()
        assert len(again.store.mailboxes["alice"].inbox.messages) == 3
        await again.kill()


async def test_what_was_delivered_and_is_still_there_is_not_delivered_again(
    start_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start_server(users=["alice:secret"], data=tmp_path)
    connector = WebhookConnector("hook", ["gateway.test"], "http://127.0.0.1:9/")
    gateway = first.mts.log_on(connector)

    async def fail(*_: object) -> None:
        raise OSError("the process dies here")

    with monkeypatch.context() as patched:
        patched.setattr(first.spool, "remove", fail)
        await first.mts.bring("hook", "a@b.test", ["alice@x.test"], MESSAGE)
        await gateway.settled()
    assert len(await first.spool.names(MTS_IN)) == 1
    await first.kill()
    again = await start_server(users=["alice:secret"], data=tmp_path)
    gateway = again.mts.log_on(connector)
    await again.mts.bring("hook", "a@b.test", ["alice@x.test"], MESSAGE)
    await gateway.settled()
    assert len(again.store.mailboxes["alice"].inbox.messages) == 2
    assert await again.spool.names(MTS_IN) == []
    assert gateway.failures == []


async def test_a_spool_that_fails_is_a_503(start_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await start_server(users=["alice:secret"], data=tmp_path)
    connector = WebhookConnector("hook", ["gateway.test"], "http://127.0.0.1:9/")
    server.mts.log_on(connector)

    async def full(*_: object) -> None:
        raise Unavailable("disk full")

    monkeypatch.setattr(server.spool, "write", full)
    async with await connector.listen(server.mts) as listener:
        port = listener.sockets[0].getsockname()[1]
        assert await request(port, posted(b"x")) == b"503"


async def test_a_killed_process_delivers_what_it_accepted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["serve", "--user", "alice:secret", "--data", str(tmp_path / "data"), "--no-tls", "--http-port", "off"]
    for name in ("smtp", "pop3", "imap", "nntp"):
        words += [f"--{name}-port", "0"]
    words += ["--gateway", f"hook.test=webhook:{port}:http://127.0.0.1:9/"]

    async def start() -> tuple[asyncio.subprocess.Process, dict[str, int]]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "harness.cli",
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        ports: dict[str, int] = {}
        async with asyncio.timeout(60):
            while "Ctrl-C stops" not in (line := (await process.stdout.readline()).decode()):
                assert line, "it ended"
                if " port " in line:
                    ports[line.split()[0]] = int(line.split(" port ")[1].split()[0])
        return process, ports

    process, _ = await start()
    try:
        accepted = await asyncio.gather(*(request(port, posted(b"%03d" % number)) for number in range(20)))
    finally:
        process.kill()
        await process.communicate()
    assert accepted == [b"202"] * 20
    process, ports = await start()
    try:
        async with asyncio.timeout(60):
            while True:
                async with await Pop3Client.connect(("127.0.0.1", ports["POP3"])) as client:
                    await client.login("alice", "secret")
                    count = int((await client.command("STAT")).split()[1])
                    if count >= 20:
                        texts = [await client.retrieve(number) for number in range(1, count + 1)]
                        break
                await asyncio.sleep(0.05)
    finally:
        process.kill()
        await process.communicate()
    found = Counter(text.partition(b"Subject: ")[2][:3] for text in texts)
    assert found == Counter(b"%03d" % number for number in range(20))


async def test_redirects_are_refused() -> None:
    target, followed = await serve_once(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    async with target:
        port = target.sockets[0].getsockname()[1]
        for code in (301, 302, 303, 307, 308):
            answer = f"HTTP/1.1 {code} Moved\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
            server, _ = await serve_once(answer.encode())
            async with server:
                url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
                with pytest.raises(WebhookError, match=str(code)):
                    await asyncio.to_thread(
                        WebhookConnector("hook", [], url).deliver, Transfer("", ("b@c",), MESSAGE), inbound(MESSAGE)
                    )
    assert followed == []


async def test_an_answer_that_is_no_http_is_an_error() -> None:
    server, _ = await serve_once(b"nonsense\r\n\r\n")
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(WebhookError):
            await asyncio.to_thread(
                WebhookConnector("hook", [], url).deliver, Transfer("", ("b@c",), MESSAGE), inbound(MESSAGE)
            )
