from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.folder import Folder
from emulator.server import Server
from harness.workbench import Workbench
from protocols.ports import NotPermitted, Target

StartServer = Callable[..., Awaitable[Server]]


def state(server: Server) -> Any:
    """Everything that a client could see, and the counters behind it."""
    store = server.store
    return {
        "users": sorted(server.directory.users),
        "groups": sorted(store.newsgroups),
        "mailboxes": {
            box.name: (sorted(box.folders), sorted(box.subscriptions), box.size) for box in store.mailboxes.values()
        },
        "annotations": dict(store.annotations),
        "folders": {
            folder.folder_id: (
                *(folder.name, folder.uid_validity, folder.uid_next, folder.highest_modseq, folder.size),
                *(
                    folder.first_recent_uid,
                    folder.unseen,
                    folder.deleted,
                    list(folder.uids),
                    list(folder.vanished),
                    folder.gone,
                    folder.closing,
                ),
                [(m.uid, m.modseq, m.flags, m.internal_date, m.content.digest, m.expunged) for m in folder.messages],
            )
            for folder in store.folders_by_id.values()
        },
        "contents": {content.digest: content.references for content in store._contents.values()},
        "ids": {key: sorted(m.uid for m in copies) for key, copies in store._message_ids.items()},
    }


async def trick(server: Server, draw: random.Random, folder: Folder) -> None:
    """What no record tells of before it is done."""
    tricks = Workbench.of(server).tricks
    if draw.random() < 0.3:
        await tricks.bump_uid_validity(folder)
    elif draw.random() < 0.5:
        await tricks.renumber(folder, seed=draw.randrange(100))
    elif folder.messages:
        tricks.set_internal_date(draw.choice(folder.messages), draw.random() * 1e9)


async def disturb(server: Server, draw: random.Random) -> None:
    """One random change."""
    store = server.store
    boxes = list(store.mailboxes.values())
    folders = [f for f in store.folders_by_id.values() if f.selectable]
    folder = draw.choice(folders)
    some = [m for m in folder.messages if draw.random() < 0.5]
    kind = draw.randrange(15)
    try:
        if kind <= 1:
            octets = f"Message-ID: <{draw.randrange(6)}@x>\r\nSubject: {draw.randrange(5)}\r\n\r\nx\r\n".encode()
            await server.converter.put(octets, [Target(each) for each in draw.sample(folders, min(2, len(folders)))])
        elif kind == 2:
            await store.expunge(folder, some)
        elif kind == 3:
            await store.set_flags(folder, some, draw.choice("+-="), frozenset({"\\Seen", "\\Deleted"}))
        elif kind == 4:
            await store.create_folder(draw.choice(boxes), f"made{draw.randrange(4)}")
        elif kind == 5:
            await store.delete_folder(folder)
        elif kind == 6:
            await server.directory.add_user(f"user{draw.randrange(4)}", "x")
        elif kind == 7:
            await store.move(some, draw.choice(folders))
        elif kind == 8:
            await store.rename_folder(folder, f"renamed{draw.randrange(4)}")
        elif kind == 9:
            await store.annotate(f"folder:{folder.folder_id}", "/comment", draw.choice((None, b"x", b"y")))
        elif kind == 10:
            await store.subscribe(draw.choice(boxes), f"made{draw.randrange(4)}", draw.random() < 0.5)
        elif kind == 11 and len(boxes) > 1:
            await store.delete_mailbox(draw.choice(boxes).name)
        elif kind == 12:
            store.claim_recent(folder)
            await store.save_folder(folder)
        else:
            await trick(server, draw, folder)
    except Exception as error:
        if type(error).__module__ != "protocols.ports":
            raise


@pytest.mark.parametrize("seed", range(25))
async def test_a_restored_store_is_what_it_was(start_server: StartServer, seed: int) -> None:
    server = await start_server(users=["alice:secret", "bob:secret"], groups=["misc.test", "alt.test"])
    workbench = Workbench.of(server)
    draw = random.Random(seed)
    for _ in range(20):
        await disturb(server, draw)
    workbench.snapshots.take("first")
    first = state(server)
    for _ in range(15):
        await disturb(server, draw)
    workbench.snapshots.take("second")
    second = state(server)
    for _ in range(15):
        await disturb(server, draw)
    workbench.snapshots.restore("second")
    assert state(server) == second
    for _ in range(10):
        await disturb(server, draw)
    workbench.snapshots.restore("first")
    assert state(server) == first
    for _ in range(10):
        await disturb(server, draw)
    workbench.snapshots.restore("first")
    assert state(server) == first
    assert {e.content.digest for e in workbench.archive.newest_first()} == set(server.store._contents)


async def test_dropping_a_snapshot_keeps_the_others(start_server: StartServer) -> None:
    server = await start_server(users=["alice:secret"], groups=["misc.test"])
    snapshots = Workbench.of(server).snapshots
    draw = random.Random(7)
    states = {}
    for name in "abcd":
        snapshots.take(name)
        states[name] = state(server)
        for _ in range(8):
            await disturb(server, draw)
    snapshots.drop("a")
    snapshots.drop("c")
    assert [each.name for each in snapshots] == ["b", "d"]
    snapshots.restore("d")
    assert state(server) == states["d"]
    snapshots.restore("b")
    assert state(server) == states["b"]
    with pytest.raises(NotPermitted, match="no snapshot 'd'"):
        snapshots.restore("d")


async def test_the_journal_grows_with_the_changes_and_not_with_the_store(start_server: StartServer) -> None:
    server = await start_server(users=["alice:secret"])
    inbox = server.store.mailboxes["alice"].inbox
    snapshots = Workbench.of(server).snapshots
    for number in range(200):
        await server.converter.put(b"Subject: %d\r\n\r\nx\r\n" % number, [Target(inbox)])
    before = inbox.messages
    taken = snapshots.take()
    assert not taken.journal
    await server.store.set_flags(inbox, inbox.messages[:1], "+", frozenset({"\\Seen"}))
    await server.store.expunge(inbox, inbox.messages[3:4])
    assert len(taken.journal) == 2
    snapshots.restore(taken.name)
    assert inbox.messages is before


async def test_a_durable_store_has_no_snapshots(start_server: StartServer, tmp_path: Path) -> None:
    server = await start_server(data=tmp_path)
    with pytest.raises(NotPermitted, match="without --data"):
        Workbench.of(server).snapshots.take()
