"""The endpoints of our own, and the event stream over a real socket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from emulator.config import SettingsError
from emulator.server import Server
from harness.clients import SmtpClient
from harness.http.app import all_endpoints, serve_http
from harness.testing.clock import AdvancingClock
from harness.workbench import Workbench

from .conftest import MIXED, plain

Put = Callable[..., Awaitable[Any]]


async def send(server: Server, subject: str = "x", to: str = "bob@example.com") -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@example.org", [to], plain(subject, to))


async def test_users_and_groups(http: httpx.AsyncClient, server: Server) -> None:
    assert (await http.post("/api/users", json={"name": "bob", "password": "x"})).json() == {"name": "bob"}
    assert server.directory.authenticate("bob", "x") == "bob"
    assert {user["name"] for user in (await http.get("/api/users")).json()} == {"alice", "bob"}
    assert (await http.post("/api/users", json={"name": "", "password": "x"})).status_code == 400
    assert (await http.post("/api/groups", json={"name": "alt.test"})).status_code == 200
    assert (await http.post("/api/groups", json={"name": "alt.test"})).status_code == 409
    assert (await http.delete("/api/groups/alt.test")).status_code == 200
    assert (await http.delete("/api/groups/alt.test")).status_code == 404


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


async def test_jam_shows_everywhere_and_can_be_released(http: httpx.AsyncClient) -> None:
    assert (await http.post("/api/jam")).json()["jammed"]
    assert (await http.get("/readyz")).status_code == 503
    assert "mailjam_jammed 1" in (await http.get("/metrics")).text
    assert (await http.get("/api/jam")).status_code == 200
    assert (await http.post("/api/jam")).status_code == 409
    assert not (await http.delete("/api/jam")).json()["jammed"]
    assert (await http.get("/readyz")).text == "ok"


async def test_services_and_builds(http: httpx.AsyncClient, server: Server) -> None:
    assert (await http.post("/api/services/IMC/pause")).json()["state"] == "paused"
    assert (await http.get("/readyz")).status_code == 503
    assert (await http.post("/api/services/IMC/continue")).json()["state"] == "running"
    assert (await http.post("/api/services/IMC/start")).status_code == 200
    assert (await http.post("/api/services/XYZ/start")).status_code == 400
    assert (await http.post("/api/build", json={"build": "sp4"})).json()["build"] == "5.5.2653.23"
    assert server.build.number == "5.5.2653.23"
    assert (await http.post("/api/build", json={"build": "sp9"})).status_code == 400


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


async def test_metrics_are_prometheus_text(http: httpx.AsyncClient, server: Server) -> None:
    await send(server)
    line = re.compile(r'(# (HELP|TYPE) \S+ .+|[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? [-+0-9.e]+)')
    text = (await http.get("/metrics")).text
    assert all(line.fullmatch(each) for each in text.splitlines())
    assert "mailjam_messages_accepted_total 1" in text


async def test_openapi_names_every_endpoint(http: httpx.AsyncClient) -> None:
    document = (await http.get("/api/openapi.json")).json()
    paths = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert paths == {(endpoint.method, endpoint.path) for endpoint in all_endpoints()}
    assert all(operation["summary"] for methods in document["paths"].values() for operation in methods.values())
    assert (await http.get("/api/docs")).status_code == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_bad_bodies_are_refused_in_a_line(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/api/users", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "\n" not in answer.json()["Error"]


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
