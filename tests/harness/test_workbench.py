from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from emulator.server import IS, Server
from harness.clients import SmtpClient
from harness.gates import Gates
from harness.workbench import Workbench

StartServer = Callable[..., Awaitable[Server]]


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server(users=["alice:secret"])


async def send(server: Server) -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@example.org", ["alice@example.com"], b"Subject: x\r\n\r\nx\r\n")
    await server.inbound.settled()


async def test_one_for_each_server(server: Server) -> None:
    assert Workbench.of(server) is Workbench.of(server)


async def test_it_follows_a_restart_of_the_services(server: Server) -> None:
    workbench = Workbench.of(server)
    await send(server)
    await server.control.stop(IS)
    await server.control.start(IS)
    await server.control.start("IMC")
    await send(server)
    assert len(workbench.archive) == 2
    assert workbench.transcripts.last_number == 2


async def test_gates_of_others_stay(server: Server) -> None:
    theirs = Gates(server.scheduler)
    gate = theirs.hold("inbound.imail.held", count=1)
    workbench = Workbench.of(server)
    assert workbench.gates is theirs
    workbench.close_gates()
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@example.org", ["alice@example.com"], b"Subject: x\r\n\r\nx\r\n")
        await gate.wait_until_held()
    theirs.close()


async def test_the_jam_is_real_and_ends_with_its_reader(server: Server) -> None:
    workbench = Workbench.of(server)
    await workbench.jamming.jam()
    assert len(server.sections.cycles()) == 1
    await workbench.jamming.release()
    await server.inbound.settled()
    assert server.sections.cycles() == []
    assert all(section.owner is None for section in server.sections)


async def test_defects_that_were_switched_on_outlive_a_change_of_build(start_server: StartServer) -> None:
    server = await start_server(build="patched", defects=frozenset({"q259541"}))
    alone = server.build.defects
    workbench = Workbench.of(server)
    assert alone
    assert alone < workbench.set_build("sp3").defects
    assert workbench.set_build("patched").defects == alone
