from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from emulator.config import SettingsError
from emulator.server import Server
from harness.clients import SmtpClient
from harness.testing.tenants import check_name
from harness.workbench import Workbench
from protocols.ports import AlreadyExists, NoSuchMailbox, Target

StartServer = Callable[..., Awaitable[Server]]
NOTE = b"From: a@x.org\r\nTo: bob@example.com\r\nSubject: x\r\n\r\nx\r\n"


def test_names() -> None:
    assert check_name("Shop-1") == "shop-1"
    for wrong in ("", "-a", "a b", "a/b", "x" * 100):
        with pytest.raises(ValueError, match="--tenant"):
            check_name(wrong)


async def test_a_jammed_tenant_keeps_nobody_waiting(start_server: StartServer) -> None:
    server = await start_server(users=["alice:secret"])
    tenants = Workbench.of(server).tenants
    shop = await tenants.create("shop", users=["carol:secret"], groups=["shop.test"])
    await shop.workbench.jamming.jam()
    assert shop.workbench.server.sections.cycles()
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@x.org", ["bob@example.com"], NOTE)
    await asyncio.wait_for(server.inbound.settled(), 10)
    assert set(server.store.mailboxes) == {"alice", "bob@example.com"}
    assert "shop.test" not in server.store.newsgroups
    assert "carol" in shop.workbench.server.store.mailboxes
    addresses = dict(shop.addresses)
    await shop.reset()
    assert shop.addresses == addresses
    assert not shop.workbench.server.sections.cycles()
    assert list(shop.workbench.server.store.mailboxes) == ["carol"]


async def test_a_tenant_ends_with_its_server_or_before(start_server: StartServer) -> None:
    server = await start_server()
    tenants = Workbench.of(server).tenants
    first, second = await tenants.create("one"), await tenants.create("two")
    await tenants.remove("one")
    assert first.workbench.ended
    with pytest.raises(NoSuchMailbox, match="mailjam tenant add one"):
        tenants.get("one")
    with pytest.raises(AlreadyExists):
        await tenants.create("TWO")
    with pytest.raises(SettingsError):
        await tenants.create("three", users=["nobody"])
    with pytest.raises(SettingsError, match="in use"):
        await tenants.create("four", ports={"smtp": second.addresses["smtp"][1]})
    assert [tenant.name for tenant in tenants] == ["two"]
    await server.kill()
    assert second.workbench.ended
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*second.addresses["smtp"])


async def test_a_tenant_may_begin_as_a_copy(start_server: StartServer) -> None:
    server = await start_server(users=["alice:secret"])
    bench = Workbench.of(server)
    await server.converter.put(NOTE, [Target(server.store.mailboxes["alice"].inbox)])
    copy = (await bench.tenants.create("copy", users=["dora:secret"], fork_of=server)).workbench
    assert len(copy.server.store.mailboxes["alice"].inbox.messages) == 1
    assert copy.server.directory.authenticate("dora", "secret") == "dora"
    assert "dora" not in server.store.mailboxes
