"""See the module `harness.http.system`."""

from __future__ import annotations

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


async def test_users_and_groups(http: httpx.AsyncClient, server: Server) -> None:
    assert (await http.post("/api/users", json={"name": "bob", "password": "x"})).json() == {"name": "bob"}
    assert server.directory.authenticate("bob", "x") == "bob"
    assert {user["name"] for user in (await http.get("/api/users")).json()} == {"alice", "bob"}
    assert (await http.post("/api/users", json={"name": "", "password": "x"})).status_code == 400
    assert (await http.post("/api/groups", json={"name": "alt.test"})).status_code == 200
    assert (await http.post("/api/groups", json={"name": "alt.test"})).status_code == 409
    assert (await http.delete("/api/groups/alt.test")).status_code == 200
    assert (await http.delete("/api/groups/alt.test")).status_code == 404


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
