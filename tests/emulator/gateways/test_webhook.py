"""emulator/gateways/webhook.py"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from emulator.gateways import WebhookConnector
from emulator.gateways.webhook import WebhookError
from emulator.imail import inbound
from emulator.mts import Refused, Transfer

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
