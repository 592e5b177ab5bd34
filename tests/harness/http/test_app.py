"""See the module `harness.http.app`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from emulator.config import SettingsError
from emulator.server import Server
from harness.clients import SmtpClient
from harness.http.app import serve_http

from .conftest import plain

Put = Callable[..., Awaitable[Any]]


async def send(server: Server, subject: str = "x", to: str = "bob@example.com") -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@example.org", [to], plain(subject, to))


async def test_a_port_in_use_is_told(server: Server) -> None:
    running = await serve_http(server, "127.0.0.1", 0)
    with pytest.raises(SettingsError, match="--http-port"):
        await serve_http(server, "127.0.0.1", running.address[1])
    await running.close()


async def test_beyond_loopback_there_is_a_token(server: Server) -> None:
    running = await serve_http(server, "0.0.0.0", 0)
    assert running.token
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{running.address[1]}/api/server")).status_code == 401
    await running.close()
