from __future__ import annotations

import smtplib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from emulator.server import Server
from harness.http.app import create_app
from harness.workbench import Workbench

from .conftest import MIXED, plain

Put = Callable[..., Awaitable[Any]]


async def test_links_are_listed_and_not_fetched(http: httpx.AsyncClient, put: Put) -> None:
    await put(MIXED)
    answer = (await http.get("/api/v1/message/latest/link-check", params={"follow": "true"})).json()
    assert answer["Errors"] == 0
    assert answer["Links"]
    assert {(link["StatusCode"], link["Status"]) for link in answer["Links"]} == {
        (0, "not fetched: mailjam asks nobody")
    }


async def test_tags_are_renamed_and_deleted(http: httpx.AsyncClient, put: Put) -> None:
    await put(plain("one"))
    await put(plain("two"))
    names = [each["ID"] for each in (await http.get("/api/v1/messages")).json()["messages"]]
    await http.put("/api/v1/tags", json={"IDs": names, "Tags": ["big  shop", "old"]})
    assert (await http.get("/api/v1/info")).json()["Tags"] == {"big shop": 2, "old": 2}
    assert (await http.put("/api/v1/tags/big%20shop", json={"Name": "new"})).text == "ok"
    assert (await http.get("/api/v1/tags")).json() == ["new", "old"]
    assert (await http.put("/api/v1/tags/new", json={"Name": "new"})).text == "ok"
    assert (await http.delete("/api/v1/tags/old")).text == "ok"
    assert (await http.get("/api/v1/tags")).json() == ["new"]
    assert (await http.delete("/api/v1/tags/old")).status_code == 404
    assert (await http.put("/api/v1/tags/new", json={"Name": " "})).status_code == 400


async def test_the_newest_that_matches(http: httpx.AsyncClient, put: Put) -> None:
    await put(plain("one"))
    await put(plain("two"))
    assert (await http.get("/api/v1/message/latest", params={"query": "subject:one"})).json()["Subject"] == "one"
    assert (await http.get("/view/latest.txt", params={"query": "subject:three"})).status_code == 404


async def test_release_goes_through_the_smart_host(
    start_server: Callable[..., Awaitable[Server]], http: httpx.AsyncClient, put: Put
) -> None:
    await put(plain("x"))
    refused = await http.post("/api/v1/message/latest/release", json={"To": ["bob@example.com"]})
    assert (refused.status_code, "--smarthost" in refused.text) == (400, True)
    target = await start_server()
    arrived = Workbench.of(target).archive
    server = await start_server(users=["alice:secret"], smarthost="{}:{}".format(*target.addresses["smtp"]))
    transport = httpx.ASGITransport(app=create_app(server))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        body = {"From": {"Email": "a@example.org"}, "To": [{"Email": "alice"}], "Subject": "out", "Text": "x"}
        assert (await client.post("/api/v1/send", json=body)).status_code == 200
        assert (await client.post("/api/v1/message/latest/release", json={"To": ["<x>"]})).status_code == 400
        answer = await client.post("/api/v1/message/latest/release", json={"To": ["bob@example.com"]})
        assert answer.text == "ok"
        entry = await arrived.wait(lambda entry, view: view.subject == "out", taken=set(), seconds_max=30)
        assert entry is not None
        assert entry.envelope is not None
        assert (entry.envelope.reverse_path, entry.envelope.recipients) == ("a@example.org", ("bob@example.com",))
        assert (await client.get("/api/v1/webui")).json()["MessageRelay"]["Enabled"] is True


async def test_chaos_is_faults(http: httpx.AsyncClient, server: Server) -> None:
    nothing = {"ErrorCode": 451, "Probability": 0}
    assert (await http.get("/api/v1/chaos")).json() == dict.fromkeys(("Sender", "Recipient", "Authentication"), nothing)
    body = {"Recipient": {"ErrorCode": 550, "Probability": 100}, "Sender": {"ErrorCode": 421, "Probability": 30}}
    shown = (await http.put("/api/v1/chaos", json=body)).json()
    assert (shown["Recipient"], shown["Sender"]) == (body["Recipient"], body["Sender"])
    shown = (await http.put("/api/v1/chaos", json={"Recipient": body["Recipient"]})).json()
    assert shown["Sender"] == nothing
    reply = await _recipient(server)
    assert reply == (550, b"mailpit chaos: recipient error")
    assert (await http.put("/api/v1/chaos", json={})).json()["Recipient"] == nothing
    assert (await _recipient(server))[0] == 250
    assert len(Workbench.of(server).faults) == 0


async def _recipient(server: Server) -> tuple[int, bytes]:
    import asyncio

    def talk() -> tuple[int, bytes]:
        with smtplib.SMTP(*server.addresses["smtp"]) as client:
            client.ehlo()
            client.mail("a@example.org")
            return client.rcpt("alice")

    return await asyncio.to_thread(talk)


@pytest.mark.parametrize("trigger", [{"ErrorCode": 200}, {"Probability": 101}, {"Probability": "x"}, 7])
async def test_chaos_that_cannot_be(http: httpx.AsyncClient, trigger: object) -> None:
    answer = await http.put("/api/v1/chaos", json={"Sender": trigger})
    assert answer.status_code == 400
    assert "must be a whole number" in answer.json()["Error"]
