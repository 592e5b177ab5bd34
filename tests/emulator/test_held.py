"""Messages on a short way: each is in a mailbox or in `In` before its sender is told, whatever stands still."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.config import Account, Settings
from emulator.converter import Converter
from emulator.events import MessageAccepted, MessageBad, MessageDelivered
from emulator.held import HeldMail
from emulator.scheduling import AsyncioClock, AsyncioScheduler
from emulator.server import Server
from emulator.spool import BAD, IN, DiskSpool, Envelope, MemorySpool
from harness.clients import Refused, SmtpClient
from harness.gates import Gates
from protocols.ports import Unavailable

ENVELOPE = Envelope("a@b.test", ("alice",))


def settings_of(directory: Path, **more: Any) -> Settings:
    return Settings(accounts=(Account("alice", "secret"),), data=directory, tls=False, **more)


async def send(server: Server, text: bytes = b"x") -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as smtp:
        await smtp.hello()
        await smtp.send("a@b.test", ["alice"], b"Subject: " + text + b"\r\n\r\nx\r\n")


def inbox(server: Server) -> list[Any]:
    return list(server.store.mailbox("alice").inbox.messages)


def refuse(*arguments: Any, **more: Any) -> Any:
    """In the place of a method that writes."""
    raise Unavailable("the disk is full")


async def fail(*arguments: Any, **more: Any) -> Any:
    """The same, for one that is awaited."""
    refuse()


async def test_a_short_way_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server(settings_of(tmp_path, spool_after_seconds=60)) as server:
        monkeypatch.delattr(DiskSpool, "_write")  # nothing can be spooled
        told: list[Any] = []
        server.bus.on(MessageAccepted, told.append)
        server.bus.on(MessageDelivered, told.append)
        await asyncio.gather(*(send(server) for _ in range(20)))
        assert len(inbox(server)) == 20, "in the mailbox before the 250"
        assert server.inbound.accepted_count == server.inbound.delivered_count == 20
        assert server.store.spool_done == set()
    names: dict[str, list[str]] = {}
    for event in told:
        names.setdefault(event.spool_name, []).append(type(event).__name__)
    assert list(names.values()) == [["MessageAccepted", "MessageDelivered"]] * 20


async def test_what_stands_still_goes_to_the_spool_and_survives_a_kill(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, build="sp4", spool_after_seconds=0.02)
    first = Server(settings)
    await first.start()
    Gates(first.scheduler).hold("inbound.imail.held")
    await asyncio.gather(*(send(first, b"%d" % number) for number in range(6)))
    assert first.queue_lengths()["Queued Inbound"] == len(await first.spool.names(IN)) == 6
    await first.kill()
    async with Server(replace(settings, build="latest")) as second:
        await second.inbound.settled()
        assert len(inbox(second)) == 6


async def test_what_is_released_after_it_was_spooled_is_delivered_once(tmp_path: Path) -> None:
    async with Server(settings_of(tmp_path, spool_after_seconds=0.02)) as server:
        gate = Gates(server.scheduler).hold("inbound.append")
        await send(server)
        assert len(await server.spool.names(IN)) == 1
        gate.release()
        await server.inbound.settled()
        assert len(inbox(server)) == 1
    async with Server(settings_of(tmp_path)) as again:
        await again.inbound.settled()
        assert len(inbox(again)) == 1


async def test_a_store_that_fails_leaves_the_message_to_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Server(settings_of(tmp_path, spool_after_seconds=60)) as server:
        hand_over = server.store.hand_over
        monkeypatch.setattr(server.store, "hand_over", refuse)
        await send(server)
        assert len(await server.spool.names(IN)) == 1
        monkeypatch.setattr(server.store, "hand_over", hand_over)
        await server.inbound.settled()
        assert len(inbox(server)) == 1


async def test_where_nothing_can_be_kept_the_sender_is_told_and_nothing_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Server(settings_of(tmp_path, spool_after_seconds=60)) as server:
        with monkeypatch.context() as patch:
            patch.setattr(server.store, "hand_over", refuse)
            patch.setattr(server.spool, "keep", fail)
            with pytest.raises(Refused, match="452"):
                await send(server)
            await server.inbound.settled()
            assert server.inbound.accepted_count == 0
        await send(server)
        await server.inbound.settled()
        assert len(inbox(server)) == 1


async def test_what_was_withdrawn_is_not_delivered_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Server(settings_of(tmp_path, spool_after_seconds=0.02)) as server:

        async def fail(*arguments: Any) -> None:
            raise Unavailable("the disk is full")

        monkeypatch.setattr(server.spool, "keep", fail)
        gate = Gates(server.scheduler).hold("inbound.imail.held")
        with pytest.raises(Refused, match="452"):
            await send(server)
        gate.release()
        await server.inbound.settled()
        assert inbox(server) == []


async def test_a_message_that_nobody_can_have_goes_to_bad(tmp_path: Path) -> None:
    async with Server(settings_of(tmp_path, strict_users=True, spool_after_seconds=60)) as server:
        bad: list[MessageBad] = []
        server.bus.on(MessageBad, bad.append)
        await server.inbound.submit("", ["nobody@x.test"], b"Subject: x\r\n\r\n")
        await server.inbound.settled()
        assert [name for name, _ in await server.spool.names(BAD)] == [bad[0].spool_name]


async def test_a_message_that_ends_the_process_each_time_goes_to_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies inside conversion: no exception is ever seen, only what the next process finds."""
    settings = settings_of(tmp_path, spool_after_seconds=0, conversion_attempts_max=3)
    dying = asyncio.Event()
    convert = Converter._convert

    async def die(converter: Converter, octets: bytes) -> Any:
        if b"deadly" in octets:
            dying.set()
            await asyncio.Event().wait()  # until the kill
        return await convert(converter, octets)

    monkeypatch.setattr(Converter, "_convert", die)
    bad: list[MessageBad] = []
    deaths = 0
    while not bad:
        server = Server(settings)
        server.bus.on(MessageBad, lambda event: (bad.append(event), dying.set()))
        await server.start()
        if deaths == 0:
            await send(server, b"deadly")
            await send(server, b"harmless")
        await asyncio.wait_for(dying.wait(), 30)
        dying.clear()
        if bad:
            await server.inbound.settled()
            assert len(inbox(server)) == 1
        await server.kill()
        deaths += not bad
    assert [event.reason for event in bad] == ["its conversion did not come to an end 3 times"]
    assert deaths == 4, "the first is not noted: the message had not failed yet"
    assert os.listdir(tmp_path / "Imcdata" / IN) == []
    assert os.listdir(tmp_path / "Imcdata" / BAD) == [bad[0].spool_name]


def test_nothing_is_held_where_nothing_is_kept(tmp_path: Path) -> None:
    scheduler, clock = AsyncioScheduler(), AsyncioClock()
    assert not HeldMail(scheduler, clock, MemorySpool(), 1.0).takes(1)
    disk = DiskSpool(tmp_path)
    assert not HeldMail(scheduler, clock, disk, 0.0).takes(1)
    held = HeldMail(scheduler, clock, disk, 1.0)
    assert held.takes(1)
    assert not held.takes(5), "others wait in In and none was delivered lately"
    held.let_go(held.take(ENVELOPE, b""))
    assert held.takes(5), "one was delivered just now"
    disk.close()
