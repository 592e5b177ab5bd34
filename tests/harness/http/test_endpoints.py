"""See the module `harness.http.endpoints`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from emulator.server import Server
from harness.clients import SmtpClient

from .conftest import plain

Put = Callable[..., Awaitable[Any]]


async def send(server: Server, subject: str = "x", to: str = "bob@example.com") -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@example.org", [to], plain(subject, to))


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_bad_bodies_are_refused_in_a_line(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/api/users", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "\n" not in answer.json()["Error"]
