from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from emulator.server import Server
from harness.testing.snapshot_view import jam


async def test_it_is_json_and_names_everything(start_server: Callable[..., Awaitable[Server]]) -> None:
    server = await start_server()
    state = json.loads(json.dumps(jam(server)))
    assert [section["name"] for section in state["sections"]] == [section.name for section in server.sections]
    assert not state["jammed"]
    assert all(section["owner"] is None and section["waiters"] == [] for section in state["sections"])
    assert {service["state"] for service in state["services"]} == {"running"}
    assert state["queues"] == server.queue_lengths()
