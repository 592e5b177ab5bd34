"""Which articles have been here is known after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from emulator import news_history
from emulator.news_history import SCOPE
from emulator.server import Server
from harness.clients import NntpClient
from protocols.nntp.history import history_of
from protocols.ports import Target, Unavailable


async def check(server: Server, name: bytes) -> bytes:
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        return (await client.command(f"CHECK {name.decode()}"))[:3]


def batches(server: Server) -> dict[str, bytes]:
    return {key: value for (scope, key), value in server.store.annotations.items() if scope == SCOPE}


async def test_expired_and_refused_articles_do_not_come_again_after_a_restart(
    tmp_path: Path, start_server: Any
) -> None:
    server: Server = await start_server(groups=("a.one",), data=tmp_path)
    octets = b"Message-ID: <expired@x>\r\nExpires: Mon, 01 Jan 2001 00:00:00 +0000\r\n\r\n"
    await server.converter.put(octets, [Target(server.store.newsgroups["a.one"])])
    assert await server.news.expiry.round() == 1
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        answer = await client.command("TAKETHIS <refused@x>\r\nSubject: no article\r\n\r\nx\r\n.")
        assert answer[:3] == b"439"
    assert await check(server, b"<expired@x>") == b"438"
    await server.stop()

    server = await start_server(groups=("a.one",), data=tmp_path)
    assert await check(server, b"<expired@x>") == b"438"
    assert await check(server, b"<refused@x>") == b"438"
    assert await check(server, b"<new@x>") == b"238"
    await server.stop()


async def test_a_cancelled_article_stays_away_whatever_happens_after_the_acknowledgement(start_server: Any) -> None:
    server: Server = await start_server(groups=("a.one",), nntp_control_messages=True)
    head = (
        "Path: x!y\r\nFrom: a@x.example\r\nNewsgroups: a.one\r\nSubject: s\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    )
    cancel = f"{head}Message-ID: <cancel@x>\r\nControl: cancel <victim@x>\r\n\r\nx\r\n."
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        assert (await client.command(f"TAKETHIS <cancel@x>\r\n{cancel}"))[:3] == b"239"
        assert b"<victim@x>" in b"\n".join(batches(server).values())  # it is written; nothing has to run any more


async def test_a_cancel_is_passed_over_where_it_cannot_be_kept(
    start_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Server = await start_server(groups=("a.one",))
    history = history_of(server.services)

    async def full(*_: Any) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(server.store, "annotate", full)
    history.remember(b"<a@x>")
    with pytest.raises(Unavailable):
        await history.kept()
    monkeypatch.undo()
    await history.kept()
    assert b"<a@x>" in b"\n".join(batches(server).values())


async def until(server: Server, condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition(batches(server)):
            await asyncio.sleep(0.002)


async def test_batches_are_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch, start_server: Any) -> None:
    monkeypatch.setattr(news_history, "BATCHES_MAX", 4)
    monkeypatch.setattr(news_history, "BATCH_ENTRIES", 10)
    server: Server = await start_server(groups=("a.one",), nntp_history_entries_max=25)
    history = history_of(server.services)
    for number in range(60):
        name = b"<%d@x>" % number
        history.remember(name)
        await until(server, lambda found, name=name: any(name in value.split(b"\n") for value in found.values()))
    await server.news.history.stop()
    kept = [name for _, value in sorted(batches(server).items()) for name in value.split(b"\n")]
    assert kept[-25:] == [b"<%d@x>" % number for number in range(35, 60)]
    assert len(kept) <= 35
    assert len(batches(server)) <= 12


async def test_a_store_that_cannot_keep_it_is_asked_again(monkeypatch: pytest.MonkeyPatch, start_server: Any) -> None:
    monkeypatch.setattr(news_history, "RETRY_SECONDS", 0.0)
    server: Server = await start_server(groups=("a.one",))
    annotate, failures = server.store.annotate, [Unavailable("full"), Unavailable("full")]

    async def failing(scope: str, key: str, value: bytes | None) -> None:
        if failures:
            raise failures.pop()
        await annotate(scope, key, value)

    monkeypatch.setattr(server.store, "annotate", failing)
    history_of(server.services).remember(b"<a@x>")
    await until(server, lambda found: list(found.values()) == [b"<a@x>"])
    assert not failures
