"""See the module `harness.http.openapi`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from emulator.server import Server
from harness.clients import SmtpClient
from harness.http.app import all_endpoints

from .conftest import plain

Put = Callable[..., Awaitable[Any]]


async def send(server: Server, subject: str = "x", to: str = "bob@example.com") -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@example.org", [to], plain(subject, to))


async def test_openapi_names_every_endpoint(http: httpx.AsyncClient) -> None:
    document = (await http.get("/api/openapi.json")).json()
    paths = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert paths == {(endpoint.method, endpoint.path) for endpoint in all_endpoints()}
    assert all(operation["summary"] for methods in document["paths"].values() for operation in methods.values())
    assert (await http.get("/api/docs")).status_code == 200
