"""See the module `harness.http.metrics`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from emulator.server import Server
from harness.clients import SmtpClient
from harness.http.metrics import exposition
from harness.workbench import Workbench

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
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["mailjam_messages_accepted"].type == "counter"
    protocols = {sample.labels["protocol"] for sample in families["mailjam_sessions"].samples}
    assert {"smtp", "pop3", "imap", "nntp"} <= protocols
    assert all(family.documentation for family in families.values())


async def test_counters_are_told_in_full(workbench: Workbench) -> None:
    workbench.server.inbound.accepted_count = 123_456_789
    assert "mailjam_messages_accepted_total 123456789\n" in exposition(workbench)


async def test_probes_while_jammed(http: httpx.AsyncClient) -> None:
    assert (await http.get("/readyz")).text == "ok"
    await http.post("/api/jam")
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert "jammed" in answer.text
    assert (await http.get("/livez")).status_code == 200
    assert "mailjam_jammed 1\n" in (await http.get("/metrics")).text
    await http.delete("/api/jam")
    assert (await http.get("/readyz")).status_code == 200
