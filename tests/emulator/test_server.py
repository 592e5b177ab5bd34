"""A whole server: one message through all protocols, the service's life, what a crash leaves behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.config import Account, Settings, SettingsError
from emulator.events import MessageBad
from emulator.server import IMC, IS, Server
from emulator.service import State
from harness.clients import ImapClient, NntpClient, Pop3Client, Refused, SmtpClient
from harness.gates import Gates
from protocols.ports import Unavailable

MESSAGE = b"From: a@b.test\r\nTo: alice@x.test\r\nSubject: hi\r\n\r\n.dot\r\n..dots\r\nend\r\n"
ARTICLE = b"From: a@b.test\r\nNewsgroups: misc.test\r\nSubject: news\r\nMessage-ID: <n1@b.test>\r\n\r\nnews\r\n"


async def send(server: Server, octets: bytes = MESSAGE, *recipients: str) -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as smtp:
        await smtp.hello()
        await smtp.send("a@b.test", list(recipients or ["alice@x.test"]), octets)


async def imap(server: Server, user: str = "alice") -> ImapClient:
    client = await ImapClient.connect(server.addresses["imap"])
    await client.login(user, "secret")
    return client


async def pop3(server: Server, user: str = "alice") -> Pop3Client:
    client = await Pop3Client.connect(server.addresses["pop3"])
    await client.login(user, "secret")
    return client


async def test_smtp_in_pop3_and_imap_out(start_server: Any) -> None:
    server = await start_server(users=["alice:secret", "bob:secret"])
    await send(server, MESSAGE, "alice@x.test", "bob@x.test", "alice@other.test")
    await server.inbound.settled()
    async with await pop3(server) as client:
        by_pop3 = await client.retrieve(1)
        assert (await client.command("STAT")).split()[1] == b"1"
    async with await imap(server, "bob") as client:
        await client.command("SELECT INBOX")
        by_imap = await client.fetch_body(1)
    assert by_pop3 == by_imap
    assert by_pop3.endswith(MESSAGE)
    trace = by_pop3[: -len(MESSAGE)]
    assert trace.startswith(b"Return-Path: <a@b.test>\r\nReceived: ")


async def test_an_article_is_a_message_in_a_public_folder(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"], groups=("misc.test",))
    async with await NntpClient.connect(server.addresses["nntp"]) as news:
        await news.login("alice", "secret")
        await news.post(ARTICLE)
        await news.command("GROUP misc.test", 211)
        article = await news.article("1")
        assert await news.article("<n1@b.test>") == article
    async with await imap(server) as client:
        await client.command('SELECT "Public Folders/misc.test"')
        by_imap = await client.fetch_body(1)
    assert article.endswith(by_imap), "NNTP shows an Xref field on top"
    assert by_imap.endswith(ARTICLE)


async def test_a_stopped_service_answers_no_one_and_starts_again_on_the_same_ports(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"])
    before = dict(server.addresses)
    await server.control.stop(IMC)
    with pytest.raises(OSError, match=r"."):
        await send(server)
    async with await pop3(server) as client:
        await client.command("NOOP")
    await server.control.start(IMC)
    assert server.addresses == before
    await send(server)
    await server.inbound.settled()
    await server.control.pause(IMC)
    with pytest.raises(OSError, match=r"."):
        await send(server)
    await server.control.resume(IMC)
    await send(server)


async def test_a_stop_says_goodbye_to_open_sessions(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"])
    client, reader = await pop3(server), await imap(server)
    await asyncio.wait_for(server.control.stop(IS), 10)
    assert (await client.line()).startswith(b"-ERR")
    assert (await reader.line()).startswith(b"* BYE")
    assert set(server.states().values()) == {State.STOPPED}
    await client.close()
    await reader.close()


async def test_the_inbound_queue_has_a_limit(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"], inbound_queue_messages_max=3, inbound_threads=1)
    gates = Gates(server.scheduler)
    gate = gates.hold("inbound.imail.held")
    for _ in range(3):
        await send(server)
    with pytest.raises(Refused, match="452"):
        await send(server)
    assert server.queue_lengths()["Queued Inbound"] == 3
    gate.release()
    await server.inbound.settled()
    await send(server)


async def test_what_cannot_be_converted_goes_to_bad_and_the_queue_goes_on(
    start_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server(users=["alice:secret"])
    bad: list[MessageBad] = []
    server.bus.on(MessageBad, bad.append)
    real = server.converter._convert

    async def convert(octets: bytes) -> Any:
        if b"poison" in octets:
            raise ValueError("conversion failed")
        return await real(octets)

    monkeypatch.setattr(server.converter, "_convert", convert)
    await send(server, b"Subject: poison\r\n\r\nx\r\n")
    await send(server)
    await server.inbound.settled()
    assert [event.reason for event in bad] == ["conversion failed: ValueError: conversion failed"]
    assert [name for name, _ in await server.spool.names("BAD")] == [bad[0].spool_name]
    assert len(server.store.mailbox("alice").inbox.messages) == 1


async def test_after_a_kill_what_was_acknowledged_is_delivered_once(tmp_path: Path) -> None:
    settings = Settings(build="sp4", accounts=(Account("alice", "secret"),), data=tmp_path, tls=False)
    first = Server(settings)
    await first.start()
    Gates(first.scheduler).hold("inbound.imail.held")
    for number in range(3):
        await send(first, b"Subject: %d\r\n\r\nx\r\n" % number)
    assert first.queue_lengths()["Queued Inbound"] == 3
    await first.kill()
    async with Server(replace(settings, build="latest")) as second:
        await second.inbound.settled()
        subjects = []
        async with await pop3(second) as client:
            for number in range(1, 4):
                octets = await client.retrieve(number)
                subjects.append(octets.split(b"Subject: ")[1][:1])
            with pytest.raises(Refused):
                await client.retrieve(4)
        assert sorted(subjects) == [b"0", b"1", b"2"]
        assert await second.spool.names("In") == []


async def test_a_port_in_use_is_one_line_that_names_the_fix(start_server: Any) -> None:
    server = await start_server()
    port = server.addresses["imap"][1]
    with pytest.raises(SettingsError, match=f"port {port} is in use: choose another with --imap-port"):
        await start_server(imap_port=port)


async def test_connections_are_limited(start_server: Any) -> None:
    server = await start_server(connections_per_address_max=2)
    clients = [await Pop3Client.connect(server.addresses["pop3"]) for _ in range(2)]
    with pytest.raises(Refused, match="too many connections"):
        await Pop3Client.connect(server.addresses["pop3"])
    await clients[0].close()
    for _ in range(100):
        try:
            await (await Pop3Client.connect(server.addresses["pop3"])).close()
            break
        except Refused:
            await asyncio.sleep(0)
    else:
        raise AssertionError("the place of a closed connection was not given back")
    await clients[1].close()


async def test_submission_is_refused_while_the_spool_fails(start_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await start_server(users=["alice:secret"])

    async def fail(*arguments: Any) -> str:
        raise Unavailable("no space left on device")

    monkeypatch.setattr(server.spool, "write", fail)
    with pytest.raises(Refused, match="452"):
        await send(server)
    monkeypatch.undo()
    await send(server)
    await server.inbound.settled()
    assert len(server.store.mailbox("alice").inbox.messages) == 1


async def test_another_server_listens_on_the_same_sockets() -> None:
    first = Server(Settings(accounts=(Account("alice", "secret"),)))
    await first.start()
    sockets = await first.kill_but_listen()
    assert sockets.keys() == first.addresses.keys()
    connecting = asyncio.open_connection(*first.addresses["smtp"])  # nobody listens: it waits in the queue
    reader, writer = await connecting
    second = Server(Settings(), store=first.store, sockets=sockets)
    await second.start()
    try:
        assert second.addresses == first.addresses
        assert (await reader.readline()).startswith(b"220 ")
        writer.close()
        await send(second)
    finally:
        await second.kill()


async def test_sockets_that_nobody_listens_on_are_closed() -> None:
    first = Server(Settings())
    await first.start()
    sockets = await first.kill_but_listen()
    second = Server(Settings(smtp_port=None), sockets=sockets)
    await second.start()
    await second.kill()
    assert all(each.fileno() == -1 for each in sockets.values())
