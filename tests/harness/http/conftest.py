"""A server with its HTTP side, asked without sockets (ASGI) or over one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from emulator.server import Server
from harness.http.app import create_app
from harness.workbench import Workbench
from protocols.ports import Target

MIXED = b"""From: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>\r
To: Alice <alice@example.com>, bob@example.com\r
Cc: carol@example.com\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from the shop\r
Date: Tue, 01 Jun 2010 10:00:00 +0200\r
Message-ID: <one@example.org>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=m\r
\r
--m\r
Content-Type: multipart/alternative; boundary=a\r
\r
--a\r
Content-Type: text/plain; charset=utf-8\r
\r
Your code is 493817.\r
--a\r
Content-Type: text/html; charset=utf-8\r
\r
<p>Your code is <b>493817</b>.</p><a href="https://shop.test/confirm?t=1&amp;u=2">confirm</a>\r
<img src="cid:logo@shop">\r
--a--\r
--m\r
Content-Type: image/png; name="logo.png"\r
Content-Disposition: inline\r
Content-ID: <logo@shop>\r
Content-Transfer-Encoding: base64\r
\r
iVBORw0KGgo=\r
--m\r
Content-Type: application/pdf\r
Content-Disposition: attachment; filename="invoice.pdf"\r
Content-Transfer-Encoding: base64\r
\r
JVBERi0xLjQK\r
--m--\r
"""


def plain(subject: str, to: str = "alice@example.com", text: str = "hello") -> bytes:
    """A short message."""
    return f"From: bob@example.org\r\nTo: {to}\r\nSubject: {subject}\r\n\r\n{text}\r\n".encode()


@pytest.fixture
async def server(start_server: Callable[..., Awaitable[Server]]) -> Server:
    return await start_server(users=["alice:secret"], groups=["misc.test"])


@pytest.fixture
async def workbench(server: Server) -> Workbench:
    return Workbench.of(server)


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(server))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
def put(workbench: Workbench) -> Callable[..., Awaitable[Any]]:
    """Put octets into mailboxes: `await put(octets, "alice", "bob@example.com/INBOX")`."""

    async def put_into(octets: bytes, *places: str) -> Any:
        targets = [Target(await workbench.folder(place)) for place in places or ("alice",)]
        return await workbench.server.converter.put(octets, targets)

    return put_into
