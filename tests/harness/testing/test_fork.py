from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from emulator.server import Server
from harness.testing.fork import ForkedFolder, fork
from harness.workbench import Workbench
from protocols.ports import Target

from .test_snapshots import disturb, state

StartServer = Callable[..., Awaitable[Server]]
MESSAGE = b"Subject: hello\r\n\r\nx\r\n"


async def fill(server: Server, draw: random.Random) -> None:
    for _ in range(40):
        await disturb(server, draw)


async def test_a_fork_is_equal_and_then_goes_its_way(start_server: StartServer) -> None:
    server = await start_server(users=["alice:secret"], groups=["misc.test"])
    draw = random.Random(3)
    await fill(server, draw)
    before = state(server)
    copy = await fork(server)
    try:
        assert state(copy) == before
        assert copy.directory.authenticate("alice", "secret") == "alice"
        assert copy.addresses["imap"] != server.addresses["imap"]
        for _ in range(20):
            await disturb(copy, draw)
        assert state(server) == before
    finally:
        await copy.kill()


@pytest.mark.parametrize("seed", range(12))
async def test_what_changes_in_the_first_is_not_seen_in_its_forks(start_server: StartServer, seed: int) -> None:
    server = await start_server(users=["alice:secret", "bob:secret"], groups=["misc.test", "alt.test"])
    draw = random.Random(seed)
    await fill(server, draw)
    snapshots = Workbench.of(server).snapshots
    snapshots.take("first")
    copies: list[Server] = []
    states: list[object] = []
    try:
        for number in range(4):
            first = server if number < 3 else copies[1]
            states.append(states[1] if number == 3 else state(first))
            copies.append(await fork(first))
            for _ in range(12):
                await disturb(server, draw)
        if draw.random() < 0.5:
            snapshots.restore("first")
            await disturb(server, draw)
        for copy, expected in list(zip(copies, states, strict=True))[draw.choice((0, 3)) :]:
            assert state(copy) == expected
    finally:
        for copy in copies:
            await copy.kill()


async def test_messages_are_made_when_somebody_looks(start_server: StartServer) -> None:
    server = await start_server(users=["alice:secret"], groups=["misc.test"])
    inbox = server.store.mailboxes["alice"].inbox
    for _ in range(3):
        await server.converter.put(b"Message-ID: <a@b>\r\n" + MESSAGE, [Target(inbox)])
    copy = await fork(server)
    try:
        archive = Workbench.of(copy).archive
        cursor = archive.last_number
        forked = copy.store.mailboxes["alice"].inbox
        assert isinstance(forked, ForkedFolder)
        other = copy.store.mailboxes["alice"].folders["Sent"]
        await copy.converter.put(b"Subject: new\r\n\r\nx\r\n", [Target(other)])
        assert forked.origin is not None
        assert [(await archive.view(entry)).subject for entry in archive.since(cursor)] == ["new"]
        assert forked.origin is not None
        await server.store.expunge(inbox, inbox.messages[:2])
        assert [message.uid for message in forked.messages] == [1, 2, 3]
        assert [message.uid for message in inbox.messages] == [3]
        assert forked.origin is None
        numbers = [entry.number for entry in archive.since()]
        assert len(numbers) == 4
        assert numbers == sorted(set(numbers))
        assert len(archive) == 4
    finally:
        await copy.kill()


async def test_a_copy_of_an_old_message_is_no_new_one(start_server: StartServer) -> None:
    server = await start_server(users=["alice:secret"])
    inbox = server.store.mailboxes["alice"].inbox
    await server.converter.put(MESSAGE, [Target(inbox)])
    copy = await fork(server)
    try:
        archive = Workbench.of(copy).archive
        cursor = archive.last_number
        mailbox = copy.store.mailboxes["alice"]
        await copy.store.copy(list(mailbox.inbox.messages), mailbox.folders["Sent"])
        assert archive.since(cursor) == []
        (entry,) = archive.since()
        assert len(entry.messages) == 2
    finally:
        await copy.kill()


async def test_articles_are_found_in_groups_that_nobody_looked_at(start_server: StartServer) -> None:
    server = await start_server(groups=["misc.test"])
    group = server.store.newsgroups["misc.test"]
    await server.converter.put(b"Message-ID: <a@b>\r\n" + MESSAGE, [Target(group)])
    copy = await fork(server)
    try:
        (found,) = copy.store.find_message_id(b"<a@b>")
        assert found.folder is copy.store.newsgroups["misc.test"]
    finally:
        await copy.kill()


async def test_a_fork_of_what_is_on_disk_needs_it_no_more(start_server: StartServer, tmp_path: Path) -> None:
    server = await start_server(users=["alice:secret"], data=tmp_path / "data")
    inbox = server.store.mailboxes["alice"].inbox
    await server.converter.put(MESSAGE, [Target(inbox)])
    inbox.messages[0].content.message = None
    copy = await fork(server)
    try:
        await server.kill()
        (message,) = copy.store.mailboxes["alice"].inbox.messages
        assert await copy.converter.octets(message) == MESSAGE
    finally:
        await copy.kill()


@pytest.mark.parametrize("seed", range(8))
async def test_the_archive_of_a_fork_has_what_its_store_has(start_server: StartServer, seed: int) -> None:
    server = await start_server(users=["alice:secret", "bob:secret"], groups=["misc.test", "alt.test"])
    draw = random.Random(seed)
    await fill(server, draw)
    copy = await fork(server)
    try:
        bench = Workbench.of(copy)
        for number in range(3):
            bench.snapshots.take(str(number))
            for _ in range(8):
                await disturb(copy, draw)
        bench.snapshots.restore(str(draw.randrange(3)))
        for _ in range(4):
            await disturb(copy, draw)
        there = {(f.folder_id, m.uid) for f in copy.store.folders_by_id.values() for m in f.messages}
        entries = bench.archive.since()
        assert sorted((m.folder.folder_id, m.uid) for entry in entries for m in entry.messages) == sorted(there)
        numbers = [entry.number for entry in entries]
        assert numbers == sorted(set(numbers))
        assert len(bench.archive) == len(entries)
    finally:
        await copy.kill()
