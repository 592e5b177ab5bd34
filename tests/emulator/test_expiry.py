"""Expiry by age and by the article's own field."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from emulator.expiry import ArticlesExpired, Expiry, expires_of
from emulator.server import Server
from harness.clients import NntpClient
from protocols.mime.structure import parse
from protocols.ports import Target

PAST, FUTURE = b"Mon, 01 Jan 2001 00:00:00 +0000", b"Mon, 01 Jan 2301 00:00:00 +0000"


@pytest.fixture
async def server(start_server) -> Server:  # type: ignore[no-untyped-def]
    started: Server = await start_server(groups=("a.one", "b.two"))
    one, two = (started.store.newsgroups[name] for name in ("a.one", "b.two"))
    for name, expires, groups in ((1, b"", [one]), (2, PAST, [one, two]), (3, FUTURE, [one]), (4, b"junk", [two])):
        octets = b"Message-ID: <%d@x>\r\n" % name + (b"Expires: " + expires + b"\r\n" if expires else b"") + b"\r\n"
        await started.converter.put(octets, [Target(group) for group in groups])
    return started


def left(server: Server) -> list[bytes]:
    groups = server.store.newsgroups.values()
    return [message.content.message_id for group in groups for message in group.messages]


async def test_the_expires_field_alone(server: Server) -> None:
    events: list[ArticlesExpired] = []
    server.bus.on(ArticlesExpired, events.append)
    expiry = Expiry(server.settings, server.services)
    assert await expiry.round() == 2
    assert left(server) == [b"<1@x>", b"<3@x>", b"<4@x>"]
    assert [(event.group, event.articles) for event in events] == [("a.one", 1), ("b.two", 1)]
    assert await expiry.round() == 0
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.command("CHECK <2@x>", 438)
        assert (await client.command("GROUP b.two")) == b"211 1 2 2 b.two"


async def test_by_age_but_not_before_the_expires_field(server: Server) -> None:
    for group in server.store.newsgroups.values():
        for message in group.messages:
            message.save_date -= 100
    settings = replace(server.settings, article_expire_seconds=50.0)
    assert await Expiry(settings, server.services).round() == 4
    assert left(server) == [b"<3@x>"]


async def test_the_task_ends_when_it_shall(server: Server) -> None:
    expiry = Expiry(server.settings, server.services)
    task = server.scheduler.spawn(expiry.actor, expiry.run())
    expiry.close()
    async with asyncio.timeout(5):
        await task
    assert not server.scheduler.failures


def test_expires_of() -> None:
    for octets, moment in (
        (b"Expires: " + PAST + b"\r\n\r\n", 978307200.0),
        (b"\r\n", None),
        (b"Expires: x\r\n\r\n", None),
    ):
        assert expires_of(octets, parse(octets)) == moment
