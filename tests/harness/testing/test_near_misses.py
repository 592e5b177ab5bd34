from __future__ import annotations

from collections.abc import Awaitable, Callable

from emulator.server import Server
from harness.clients import SmtpClient
from harness.testing.near_misses import near_misses
from harness.workbench import Workbench


async def test_the_nearest_comes_first_with_its_reason(start_server: Callable[..., Awaitable[Server]]) -> None:
    workbench = Workbench.of(await start_server())
    async with await SmtpClient.connect(workbench.server.addresses["smtp"]) as client:
        await client.hello()
        for subject in ("far", "near"):
            await client.send("a@example.org", ["bob@example.com"], f"Subject: {subject}\r\n\r\n".encode())
    await workbench.server.inbound.settled()
    text = await near_misses(
        workbench, "w", 1.0, misfits=lambda entry, view: ["one"] if view.subject == "near" else ["one", "two"]
    )
    lines = text.splitlines()
    assert lines[0] == "no message within 1 s: w"
    assert "'near'" in lines[1]
    assert lines[1].endswith("— one")
    assert lines[2].endswith("— one; two")
    assert any(line.startswith("smtp-") for line in lines)
    assert "nothing came in" in await near_misses(workbench, "w", 1.0, after=workbench.archive.last_number)
