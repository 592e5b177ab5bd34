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


async def read_until(url: str, wanted: str, headers: dict[str, str]) -> tuple[list[str], str]:
    """Subjects of new messages (and the kinds of other events) until one is wanted, and the last id."""
    found, last, kind = [], "", ""
    async with (
        httpx.AsyncClient(base_url=url, timeout=10) as client,
        client.stream("GET", "/api/events", headers=headers) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                last = line[4:]
            if line.startswith("event: "):
                kind = line[7:]
            if line.startswith("data: ") and kind in ("new", "reset"):
                found.append(json.loads(line[6:])["Subject"] if kind == "new" else kind)
            if line == "" and wanted in (kind, *found) and last:
                return found, last
    raise AssertionError(found)


async def test_who_comes_back_is_told_what_was_missed(server: Server) -> None:
    running = await serve_http(server, "127.0.0.1", 0)
    await send(server, "before")
    await server.inbound.settled()
    found, last = await read_until(running.url, "state", {})
    assert found == []
    for subject in ("one", "two"):
        await send(server, subject)
    await server.inbound.settled()
    found, last = await read_until(running.url, "two", {"Last-Event-ID": last})
    assert found == ["one", "two"]
    await send(server, "three")
    await server.inbound.settled()
    assert (await read_until(running.url, "three", {"Last-Event-ID": last}))[0] == ["three"]
    assert (await read_until(running.url, "reset", {"Last-Event-ID": "other-1"}))[0] == ["reset"]
    await running.close()
