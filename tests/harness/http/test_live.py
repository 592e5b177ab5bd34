"""See the module `harness.http.live`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from emulator.server import Server
from harness.clients import SmtpClient
from harness.http.app import serve_http

from .conftest import plain

Put = Callable[..., Awaitable[Any]]


async def send(server: Server, subject: str = "x", to: str = "bob@example.com") -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@example.org", [to], plain(subject, to))


async def test_events_over_a_socket(server: Server) -> None:
    running = await serve_http(server, "127.0.0.1", 0)
    kinds: list[str] = []
    async with (
        httpx.AsyncClient(base_url=running.url, timeout=10) as client,
        client.stream("GET", "/api/events") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        sent = False
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                kinds.append(line[7:])
            if line.startswith("data: "):
                json.loads(line[6:])
            if kinds and not sent:
                sent = True
                await send(server)
            if "new" in kinds:
                break
    assert kinds[0] == "state"
    assert "session" in kinds
    await running.close()
