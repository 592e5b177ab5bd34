"""See the module `harness.http.control`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from emulator.server import Server
from harness.clients import SmtpClient
from harness.testing.clock import AdvancingClock
from harness.workbench import Workbench

from .conftest import MIXED, plain

Put = Callable[..., Awaitable[Any]]


async def send(server: Server, subject: str = "x", to: str = "bob@example.com") -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@example.org", [to], plain(subject, to))


async def test_wait_and_its_timeout(http: httpx.AsyncClient, server: Server) -> None:
    waiting = asyncio.ensure_future(http.get("/api/wait", params={"query": "subject:hello", "timeout": 5}))
    await send(server, "other")
    await send(server, "hello")
    answer = (await waiting).json()
    assert answer["message"]["Subject"] == "hello"
    late = await http.get("/api/wait", params={"query": "subject:hello", "after": answer["cursor"], "timeout": 0.05})
    assert late.status_code == 504
    assert late.json()["Error"].startswith("no message within 0.05 s")


async def test_ingest_mime_properties_links(http: httpx.AsyncClient) -> None:
    put = await http.post("/api/messages", params={"to": ["alice", "alice/New", "misc.test"]}, content=MIXED)
    assert [one["folder"] for one in put.json()] == ["INBOX", "New", "misc.test"]
    tree = (await http.get("/api/messages/latest/mime")).json()
    assert [child["type"] for child in tree["children"]] == ["multipart/alternative", "image/png", "application/pdf"]
    assert (await http.get("/api/messages/latest/properties")).json()["PR_SUBJECT"] == "Grüße from the shop"
    links = (await http.get("/api/messages/latest/links")).json()
    assert links == {"links": ["https://shop.test/confirm?t=1&u=2"], "otp": "493817"}
    assert (await http.post("/api/messages", content=MIXED)).status_code == 400


async def test_faults_over_http(http: httpx.AsyncClient, server: Server) -> None:
    added = (await http.post("/api/faults", json={"verb": "error", "command": "RCPT"})).json()
    assert added["fired"] == 0
    with pytest.raises(Exception, match="451"):
        await send(server)
    shown = (await http.get("/api/faults")).json()["faults"]
    assert [(one["fired"], one["healed"]) for one in shown] == [(1, True)]
    recorded = (await http.get("/api/faults/recorded")).text
    assert (await http.put("/api/faults", content=recorded)).json()[0]["fault"]["session"] == 1
    assert (await http.delete("/api/faults")).json()["unused"] != []
    wrong = await http.post("/api/faults", json={"fault": "explode"})
    assert (wrong.status_code, "unknown verb" in wrong.json()["Error"]) == (400, True)


async def test_gates_over_http(http: httpx.AsyncClient, server: Server) -> None:
    name = (await http.post("/api/gates", json={"point": "inbound.imail.held", "count": 1})).json()["id"]
    await send(server)
    assert (await http.get(f"/api/gates/{name}/wait")).json()["actor"].startswith("inbound-")
    assert (await http.get("/readyz")).status_code == 200
    await http.post(f"/api/gates/{name}/release")
    await server.inbound.settled()
    assert (await http.get("/api/gates")).json() == []


async def test_sessions(http: httpx.AsyncClient, server: Server) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses["pop3"])
    await reader.readline()
    writer.write(b"USER alice\r\nPASS secret\r\n")
    await reader.readline()
    await reader.readline()
    (shown,) = (await http.get("/api/sessions", params={"open": "1"})).json()
    full = (await http.get(f"/api/sessions/{shown['number']}")).json()
    assert "C: PASS ***" in full["lines"]
    await http.delete(f"/api/sessions/{shown['number']}")
    assert await reader.read() == b""
    writer.close()


async def test_snapshots_tricks_and_clock(
    http: httpx.AsyncClient, server: Server, put: Put, workbench: Workbench
) -> None:
    await put(plain("one"))
    await http.post("/api/snapshots", json={"name": "s"})
    await put(plain("two"))
    inbox = server.store.mailboxes["alice"].inbox
    before = inbox.uid_validity
    assert (await http.post("/api/tricks/bump-uidvalidity", json={"folder": "alice"})).json()["uid_validity"] > before
    assert (await http.post("/api/tricks/renumber", json={"folder": "alice"})).json()["uids"] == [3, 4]
    assert (await http.post("/api/tricks/expunge", json={"folder": "alice", "uids": [3]})).json() == {"expunged": [3]}
    assert (await http.post("/api/tricks/expunge", json={"folder": "nobody"})).status_code == 404
    assert (await http.post("/api/tricks/quota", json={"octets": 10})).status_code == 200
    assert server.store.quota_bytes_max == 10
    assert (await http.post("/api/clock/advance", json={"minutes": 1})).status_code == 409
    assert not isinstance(server.clock, AdvancingClock)
    assert (await http.post("/api/snapshots/none/restore")).status_code == 404


async def test_restore(http: httpx.AsyncClient, server: Server, put: Put, workbench: Workbench) -> None:
    await put(plain("one"))
    await http.post("/api/snapshots", json={"name": "s"})
    first = (await http.get("/api/v1/messages")).json()["messages"][0]["ID"]
    await http.delete("/api/v1/messages")
    await put(plain("two"), "alice", "bob@example.com", "misc.test")
    assert (await http.post("/api/snapshots/s/restore")).status_code == 200
    messages = (await http.get("/api/v1/messages")).json()["messages"]
    assert [(message["ID"], message["Subject"], message["Read"]) for message in messages] == [(first, "one", False)]
    inbox = server.store.mailboxes["alice"].inbox
    assert (inbox.uids, inbox.uid_next, inbox.size) == ([1], 2, len(plain("one")))
    assert server.store.newsgroups["misc.test"].messages == []
    assert len(server.store._contents) == 1
