"""Newsfeeds between two mailjams over real sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from emulator.config import Newsfeed, SettingsError, parse_moderator, parse_newsfeed
from emulator.feeds import FeedWorker, NewsfeedRound, Newsfeeds
from emulator.server import Server
from protocols.ports import Target, Unavailable


def article(number: int, group: str = "misc.test", path: str = "origin.example!not-for-mail") -> bytes:
    return (
        f"Path: {path}\r\nFrom: a@b.example\r\nNewsgroups: {group}\r\nSubject: {number}\r\n"
        f"Date: Mon, 01 Jan 2024 12:00:00 +0000\r\nMessage-ID: <{number}@x.example>\r\n\r\n.body {number}\r\n"
    ).encode()


class Pair:
    """Two servers, and a feed worker of the first that knows the second."""

    def __init__(self, near: Server, far: Server) -> None:
        self.near, self.far = near, far

    async def put(self, server: Server, *numbers: int, group: str = "misc.test", **fields: Any) -> None:
        for number in numbers:
            target = Target(server.store.newsgroups[group])
            await server.converter.put(article(number, group, **fields), [target])

    def worker(self, **fields: Any) -> FeedWorker:
        host, port = self.far.addresses["nntp"]
        feed = Newsfeed(**({"pulls": False, "host": host, "port": port, "identity": "far.test"} | fields))
        return FeedWorker(feed, self.near.settings, self.near.services, self.near.store, self.near.bus, context=None)

    async def octets(self, server: Server, group: str = "misc.test") -> list[bytes]:
        return [await server.converter.octets(message) for message in server.store.newsgroups[group].messages]


@pytest.fixture
async def pair(start_server) -> Pair:  # type: ignore[no-untyped-def]
    groups = {"groups": ("misc.test", "alt.test")}
    return Pair(
        await start_server(hostname="near.test", **groups),
        await start_server(hostname="far.test", users=["feeder:secret"], **groups),
    )


def outcome(result: NewsfeedRound) -> tuple[int, int, int, str]:
    return result.offered, result.transferred, result.refused, result.error


async def test_push_streams_what_is_new_and_remembers(pair: Pair) -> None:
    await pair.put(pair.near, *range(1, 51))
    worker = pair.worker()
    assert outcome(await worker.round()) == (50, 50, 0, "")
    received = await pair.octets(pair.far)
    assert [octets.partition(b"\r\n")[2] for octets in received] == [
        article(number).partition(b"\r\n")[2] for number in range(1, 51)
    ]
    assert received[0].startswith(b"Path: far.test!.SEEN.127.0.0.1!origin.example!not-for-mail\r\n")
    assert outcome(await worker.round()) == (0, 0, 0, "")
    await pair.put(pair.near, 51)
    assert outcome(await pair.worker().round()) == (1, 1, 0, "")  # where it stood is in the store, not in the worker


async def test_push_by_ihave_where_streaming_is_not_known(pair: Pair, start_server) -> None:  # type: ignore[no-untyped-def]
    pair.far = await start_server(hostname="old.test", groups=("misc.test",), personality="exchange55")
    await pair.put(pair.near, 1, 2)
    await pair.put(pair.far, 2)
    assert outcome(await pair.worker().round()) == (2, 1, 1, "")
    assert len(await pair.octets(pair.far)) == 2


async def test_push_leaves_out_what_the_peer_has_had(pair: Pair) -> None:
    await pair.put(pair.near, 1, path="far.test!origin.example!x")
    await pair.put(pair.near, 2)
    await pair.put(pair.near, 3, group="alt.test")
    assert outcome(await pair.worker(groups="misc.*").round()) == (1, 1, 0, "")
    assert len(await pair.octets(pair.far)) == 1


async def test_pull_takes_what_is_new_and_remembers(pair: Pair) -> None:
    await pair.put(pair.far, 1, 2)
    await pair.put(pair.far, 3, group="alt.test")
    await pair.put(pair.near, 2)
    worker = pair.worker(pulls=True, groups="*,!alt.*", user="feeder", password="secret")
    assert outcome(await worker.round()) == (1, 1, 0, "")
    assert outcome(await worker.round()) == (0, 0, 0, "")
    assert len(await pair.octets(pair.near)) == 2
    assert not await pair.octets(pair.near, "alt.test")
    await pair.put(pair.far, 4)
    assert outcome(await pair.worker(pulls=True, groups="misc.*").round()) == (1, 1, 0, "")


async def test_what_cannot_be_taken_now_is_pulled_later(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any) -> Any:
        raise Unavailable("disk full")

    await pair.put(pair.far, 1)
    worker = pair.worker(pulls=True)
    monkeypatch.setattr(pair.near.converter, "put", full)
    assert "could not be taken now" in (await worker.round()).error
    monkeypatch.undo()
    assert outcome(await worker.round()) == (1, 1, 0, "")


async def test_what_the_peer_defers_is_pushed_later(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any) -> Any:
        raise Unavailable("disk full")

    await pair.put(pair.near, 1, 2)
    monkeypatch.setattr(pair.far.converter, "put", full)
    assert (await pair.worker().round()).error
    monkeypatch.undo()
    assert outcome(await pair.worker().round()) == (2, 2, 0, "")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"port": 1}, "cannot be reached"),
        ({"user": "feeder", "password": "wrong"}, "login refused: 481"),
    ],
)
async def test_failures_are_said_and_change_nothing(pair: Pair, fields: dict[str, Any], error: str) -> None:
    await pair.put(pair.near, 1)
    assert error in (await pair.worker(**fields).round()).error
    assert outcome(await pair.worker().round()) == (1, 1, 0, "")


async def test_a_running_push_feed_is_woken_by_an_article(pair: Pair, start_server) -> None:  # type: ignore[no-untyped-def]
    host, port = pair.far.addresses["nntp"]
    feed = Newsfeed(False, host, port, identity="far.test", interval_seconds=3600.0)
    server = await start_server(hostname="third.test", groups=("misc.test",))
    rounds: list[NewsfeedRound] = []
    server.bus.on(NewsfeedRound, rounds.append)
    settings = replace(server.settings, newsfeeds=(feed,))  # the server would run them itself
    feeds = Newsfeeds(settings, server.scheduler, server.services, server.store, server.bus)
    feeds.start()
    try:
        async with asyncio.timeout(10):
            while not rounds:
                await asyncio.sleep(0.005)
            await pair.put(server, 1)
            while not any(result.transferred for result in rounds):
                await asyncio.sleep(0.005)
    finally:
        await feeds.stop()
    assert len(await pair.octets(pair.far)) == 1
    assert not server.scheduler.failures
    assert server.store.newsgroups["misc.test"].listeners == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("push:news.example", Newsfeed(False, "news.example")),
        ("pull:127.0.0.1:1119/misc.*,!misc.x", Newsfeed(True, "127.0.0.1", 1119, "misc.*,!misc.x")),
        ("push:[::1]:563", Newsfeed(False, "::1", 563)),
    ],
)
def test_feeds_as_text(text: str, wanted: Newsfeed) -> None:
    assert parse_newsfeed(text) == wanted
    assert parse_newsfeed(wanted.name.replace("::1", "[::1]")) == wanted


@pytest.mark.parametrize("text", ["", "news.example", "push:", "pull:a:0", "pull:a:99999", "push:a/b,,c", "push:a b"])
def test_what_is_no_feed(text: str) -> None:
    with pytest.raises(SettingsError, match="--newsfeed"):
        parse_newsfeed(text)


def test_moderators_as_text() -> None:
    assert parse_moderator("mod.*=%s@example.com") == ("mod.*", "%s@example.com")
    for text in ("", "mod.*", "mod.*=nobody", "a,,b=a@b", "mod=a @b"):
        with pytest.raises(SettingsError, match="--moderator"):
            parse_moderator(text)
