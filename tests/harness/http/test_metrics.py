"""See the module `harness.http.metrics`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from emulator.server import Server
from harness.clients import SmtpClient

from .conftest import plain

Put = Callable[..., Awaitable[Any]]


async def send(server: Server, subject: str = "x", to: str = "bob@example.com") -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@example.org", [to], plain(subject, to))


async def test_metrics_are_prometheus_text(http: httpx.AsyncClient, server: Server) -> None:
    await send(server)
    line = re.compile(r'(# (HELP|TYPE) \S+ .+|[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? [-+0-9.e]+)')
    text = (await http.get("/metrics")).text
    assert all(line.fullmatch(each) for each in text.splitlines())
    assert "mailjam_messages_accepted_total 1" in text
