from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from emulator.server import Server
from harness.testing.near_misses import near_misses, state_lines
from harness.testing.snapshot_view import jam
from harness.workbench import Workbench
from protocols.ports import NotPermitted


async def test_jam_is_shown_refused_twice_and_released(start_server: Callable[..., Awaitable[Server]]) -> None:
    workbench = Workbench.of(await start_server())
    server = workbench.server
    build = server.build.number
    await workbench.jamming.jam()
    state = jam(server)
    assert state["jammed"]
    assert {edge["section"] for edge in state["cycles"][0]} == {"imail", "directory"}
    assert state["queues"]["Queued Inbound"] == 1
    assert state_lines(workbench)[0] == "jammed:"
    text = await near_misses(workbench, "subject='x'", 0.1)
    assert text.startswith("no message within 0.1 s: subject='x'")
    assert "waits for imail" in text
    with pytest.raises(NotPermitted, match="jammed already"):
        await workbench.jamming.jam()
    await workbench.jamming.release()
    await server.inbound.settled()
    assert not jam(server)["jammed"]
    assert server.build.number == build
