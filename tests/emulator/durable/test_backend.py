"""What only the durable backend does: locks, schema, errors of the disk, memory, start-up."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
from types import SimpleNamespace

import pytest

from emulator.config import Settings, SettingsError
from emulator.durable import bodies, directory_lock, schema
from emulator.durable.backend import DurableBackend
from emulator.durable.bodies import Codec
from emulator.durable.names import FILE_NAME
from emulator.store import Store
from protocols.ports import NoSuchMessage, Target, Unavailable


class Plain:
    modified = False
    structure = SimpleNamespace(headers={})

    def __init__(self, octets: bytes) -> None:
        self.octets = octets


class Bag(Plain):
    """A message whose properties were changed."""

    modified = True

    def to_bytes(self) -> bytes:
        return b"properties of " + self.octets


def opened(directory, *, cache_bytes_max: int = 1 << 20, **changes) -> Store:
    codec = Codec(Plain, lambda packed: Bag(packed.removeprefix(b"properties of ")))
    backend = DurableBackend(directory, cache_bytes_max=cache_bytes_max, codec=codec)
    store = Store(Settings(**changes), backend)
    backend.open(store.restore)
    return store


async def put(store, folder, octets: bytes, kind=Plain):
    [[message]] = await store.append([(store.content_of(kind(octets), octets), [Target(folder)])])
    return message


# --- opening ------------------------------------------------------------------------------------------------------


async def test_a_second_process_is_refused(tmp_path):
    store = opened(tmp_path)
    with pytest.raises(SettingsError, match=f"in use by process {os.getpid()}: stop it, or choose another directory"):
        opened(tmp_path)
    await store.close()
    await store.close()
    await opened(tmp_path).close()


async def test_the_lock_goes_with_the_process(tmp_path):
    code = (
        "import sys, os, signal; from pathlib import Path;"
        "from emulator.durable.directory_lock import DirectoryLock;"
        "DirectoryLock(Path(sys.argv[1])).acquire(); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(SettingsError, match=f"process {process.pid}"):
            opened(tmp_path)
        process.kill()
        process.wait()
    await opened(tmp_path).close()


async def test_a_newer_schema_is_refused_in_one_line(tmp_path):
    await opened(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SettingsError) as caught:
        opened(tmp_path)
    assert "schema 99" in str(caught.value)
    assert "newer mailjam" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_another_programs_file_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    with pytest.raises(SettingsError, match="not a mailjam store"):
        opened(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(SettingsError, match="cannot be opened"):
        opened(tmp_path)


async def test_a_file_that_was_cut_to_nothing_is_no_new_store(tmp_path):
    (tmp_path / FILE_NAME).touch()
    await opened(tmp_path).close()  # a process that died as it began
    (tmp_path / "Imcdata").mkdir()
    (tmp_path / FILE_NAME).write_bytes(b"")
    with pytest.raises(SettingsError, match="cut to nothing: put back a copy"):
        opened(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    await opened(tmp_path).close()


async def test_an_older_schema_is_migrated(tmp_path):
    path = tmp_path / FILE_NAME
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(f"BEGIN; {schema.MIGRATIONS[0]}; PRAGMA user_version = 1; COMMIT;")
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    connection.execute("INSERT INTO mailboxes VALUES ('alice')")
    connection.execute("INSERT INTO folders VALUES (1, 'alice', 'INBOX', 7, 3, 9, 1, 1, '', 0, '', 'y')")
    connection.execute("INSERT INTO contents VALUES (1, x'00', 2, x'')")
    connection.execute("INSERT INTO bodies VALUES (1, 0, ?, ?)", bodies.pack_octets(b"ok")[1:])
    connection.execute("INSERT INTO messages VALUES (1, 2, 9, '\\Seen', 1.5, 60, 2.5, 1)")
    connection.close()
    store = opened(tmp_path)
    assert store.backend.migrated == (1, schema.VERSION)
    inbox = store.mailbox("alice").inbox
    [message] = inbox.messages
    assert (message.uid, message.flags, message.zone_minutes) == (2, {"\\Seen"}, 60)
    assert (await store.read(message)).octets == b"ok"
    assert inbox.vanished_since(5) is None, "what was expunged before is not known"
    assert inbox.vanished_since(9) == []
    await store.close()
    again = opened(tmp_path)
    assert again.backend.migrated == (schema.VERSION, schema.VERSION)
    await again.close()


async def test_a_failed_migration_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    await opened(tmp_path).close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE new (x); SELECT nonsense;"))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(SettingsError, match="nonsense"):
        opened(tmp_path)
    monkeypatch.undo()
    await opened(tmp_path).close()


async def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(directory_lock.os, "open", refuse)
    with pytest.raises(SettingsError, match=r"cannot be written \(Permission denied\): choose another directory"):
        opened(tmp_path)


async def test_files_are_for_their_owner_only(tmp_path):
    store = opened(tmp_path)
    await store.create_mailbox("alice")
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    await store.close()


async def test_a_name_that_cannot_be_a_directory(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="cannot be made"):
        opened(tmp_path / "file" / "below")


# --- errors of the disk -------------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_and_the_service_goes_on(tmp_path):
    store = opened(tmp_path)
    alice = await store.create_mailbox("alice")
    kept = await put(store, alice.inbox, b"kept")
    run = store.backend._writer._connection.execute
    pages = run("PRAGMA page_count").fetchone()[0]
    run(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match="the disk is full"):
        await put(store, alice.inbox, os.urandom(100_000))
    await store.set_flags(alice.inbox, [kept], "+", frozenset({"\\Seen"}))
    run("PRAGMA max_page_count = 1000000")
    later = await put(store, alice.inbox, os.urandom(100_000))
    await store.close()
    store = opened(tmp_path)
    assert [m.uid for m in store.mailbox("alice").inbox.messages] == [kept.uid, later.uid]
    assert store.mailbox("alice").inbox.messages[0].flags == {"\\Seen"}
    await store.close()


async def test_one_that_fails_takes_only_later_ones_with_it(tmp_path):
    store = opened(tmp_path)
    alice = await store.create_mailbox("alice")
    run = store.backend._writer._connection.execute
    run("CREATE TEMP TRIGGER t BEFORE INSERT ON messages WHEN new.uid = 4 BEGIN SELECT raise(ABORT, 'no'); END")
    blocker = sqlite3.connect(store.backend.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    first = asyncio.ensure_future(put(store, alice.inbox, b"first"))
    await asyncio.sleep(0.05)  # the writer may have taken the first and wait for the blocker; the rest shares a batch
    rest = [asyncio.ensure_future(put(store, alice.inbox, b"%d" % n)) for n in range(4)]
    await asyncio.sleep(0)
    blocker.execute("ROLLBACK")
    blocker.close()
    done = await asyncio.gather(first, *rest, return_exceptions=True)
    assert [isinstance(each, Unavailable) for each in done] == [False, False, False, True, True]
    assert [m.uid for m in alice.inbox.messages] == [1, 2, 3]
    run("DROP TRIGGER t")
    assert (await put(store, alice.inbox, b"later")).uid == 6
    await store.close()
    store = opened(tmp_path)
    assert [m.uid for m in store.mailbox("alice").inbox.messages] == [1, 2, 3, 6]
    await store.close()


async def test_the_file_is_gone(tmp_path):
    store = opened(tmp_path)
    alice = await store.create_mailbox("alice")
    run = store.backend._writer._connection.execute
    run("PRAGMA query_only = 1")
    with pytest.raises(Unavailable, match="cannot be written"):
        await put(store, alice.inbox, b"x")
    # a failed write makes the writer begin anew with another connection
    assert (await put(store, alice.inbox, b"x")).uid == 2
    await store.close()


async def test_after_the_end_nothing_is_taken(tmp_path):
    store = opened(tmp_path)
    alice = await store.create_mailbox("alice")
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await put(store, alice.inbox, b"x")
    assert alice.inbox.messages == []


async def test_close_waits_for_what_was_handed_over(tmp_path):
    store = opened(tmp_path)
    alice = await store.create_mailbox("alice")
    tasks = [asyncio.ensure_future(put(store, alice.inbox, b"%d" % n)) for n in range(50)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*tasks)
    assert len(alice.inbox.messages) == 50


# --- contents -----------------------------------------------------------------------------------------------------


async def test_concurrent_commits_share_a_sync(tmp_path):
    store = opened(tmp_path)
    alice = await store.create_mailbox("alice")
    before = store.backend.transactions
    await asyncio.gather(*(put(store, alice.inbox, b"%d" % n) for n in range(200)))
    assert store.backend.transactions - before < 20
    await store.close()


async def test_a_batch_of_more_rows_and_octets_than_one_statement_takes(tmp_path):
    store = opened(tmp_path)
    alice, bob = await store.create_mailbox("alice"), await store.create_mailbox("bob")
    texts = [b"%d " % n + bytes(100_000 if n % 9 == 0 else 10) for n in range(200)]

    async def put_both(octets: bytes) -> None:
        await store.append([(store.content_of(Plain(octets), octets), [Target(alice.inbox), Target(bob.inbox)])])

    await asyncio.gather(*map(put_both, texts))
    await store.close()
    store = opened(tmp_path)
    for name in ("alice", "bob"):
        inbox = store.mailbox(name).inbox
        assert [(await store.read(message)).octets for message in inbox.messages] == texts
        assert inbox.uids == list(range(1, 201))
        assert (inbox.uid_next, inbox.highest_modseq) == (201, 201)
    await store.close()


async def test_memory_does_not_grow_with_bodies(tmp_path):
    store = opened(tmp_path, cache_bytes_max=100_000)
    alice = await store.create_mailbox("alice")
    for n in range(50):
        await put(store, alice.inbox, b"%d" % n + bytes(10_000))
    held = [m for m in alice.inbox.messages if m.content.message is not None]
    assert 3 <= len(held) <= 10
    for message in alice.inbox.messages:
        assert len((await store.read(message)).octets) > 10_000
    assert sum(m.content.message is not None for m in alice.inbox.messages) <= 10
    await store.close()


async def test_who_reads_one_after_the_other_makes_few_trips(tmp_path, monkeypatch):
    store = opened(tmp_path, cache_bytes_max=1 << 20)
    alice = await store.create_mailbox("alice")
    texts = [b"%d" % n + bytes(1000) for n in range(300)]
    for text in texts:
        await put(store, alice.inbox, text)
    await store.close()
    store = opened(tmp_path, cache_bytes_max=1 << 20)
    inbox = store.mailbox("alice").inbox
    trips = []
    load = store.backend._load
    monkeypatch.setattr(store.backend, "_load", lambda *arguments: trips.append(1) or load(*arguments))
    assert [(await store.read(message)).octets for message in inbox.messages] == texts
    assert len(trips) < 12
    assert sum(message.content.message is not None for message in inbox.messages) <= (1 << 20) // 5000
    await store.close()


async def test_a_body_larger_than_the_cache(tmp_path):
    store = opened(tmp_path, cache_bytes_max=100)
    alice = await store.create_mailbox("alice")
    message = await put(store, alice.inbox, b"large" * 1000)
    assert message.content.message is None
    assert (await store.read(message)).octets == b"large" * 1000
    await store.close()


async def test_changed_properties_come_back(tmp_path):
    store = opened(tmp_path)
    alice = await store.create_mailbox("alice")
    await put(store, alice.inbox, b"x", Bag)
    await store.close()
    store = opened(tmp_path)
    message = await store.read(store.mailbox("alice").inbox.messages[0])
    assert isinstance(message, Bag)
    assert message.octets == b"x"
    await store.close()


async def test_what_was_forgotten_cannot_be_read(tmp_path):
    store = opened(tmp_path, cache_bytes_max=0)
    alice = await store.create_mailbox("alice")
    message = await put(store, alice.inbox, b"x")
    await store.expunge(alice.inbox, [message])
    assert (await store.read(message)).octets == b"x", "a session that still sees it may read it a moment longer"
    message.content.message = None
    await put(store, alice.inbox, b"y")
    with pytest.raises(NoSuchMessage):
        await store.read(message)
    await store.close()


async def test_a_damaged_body_is_said_to_be_damaged(tmp_path):
    store = opened(tmp_path, cache_bytes_max=0)
    alice = await store.create_mailbox("alice")
    message = await put(store, alice.inbox, b"text " * 1000)
    await store.close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("UPDATE bodies SET body = substr(body, 1, 20)")
    connection.commit()
    connection.close()
    store = opened(tmp_path)
    [message] = store.mailbox("alice").inbox.messages
    with pytest.raises(Unavailable, match="mailjam check --repair"):
        await store.read(message)
    await store.close()


async def test_start_with_100_000_messages(tmp_path):
    path = tmp_path / FILE_NAME
    connection = schema.connect(path)
    schema.migrate(connection, path)
    connection.execute("BEGIN")
    connection.execute("INSERT INTO mailboxes VALUES ('alice')")
    connection.execute("INSERT INTO folders VALUES (1, 'alice', 'INBOX', 7, 100001, 100001, 1, 1, '', 0, '', 'y', 0)")
    rows = range(1, 100_001)
    connection.executemany(
        "INSERT INTO contents VALUES (?, ?, 1000, x'3c')", ((n, n.to_bytes(20, "big")) for n in rows)
    )
    connection.executemany("INSERT INTO messages VALUES (1, ?, ?, '\\Seen', 1, 0, 1, ?)", ((n, n + 1, n) for n in rows))
    connection.execute("COMMIT")
    connection.close()
    store = opened(tmp_path)
    assert len(store.mailbox("alice").inbox.messages) == 100_000
    await store.close()
