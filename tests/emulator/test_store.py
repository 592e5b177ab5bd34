"""One suite for the store over every backend: in memory, one that suspends as slowly as asked, and the durable one.

At the end of each test with the durable backend the directory is opened anew and must give the same index.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import pytest

from emulator.changes import ContentForgotten, MemoryBackend, SpoolDone, SpoolForgotten
from emulator.config import Settings
from emulator.durable.backend import DurableBackend
from emulator.durable.bodies import Codec
from emulator.durable.check import check_directory
from emulator.folder import DELETED, SEEN
from emulator.store import Store
from protocols.ports import (
    AlreadyExists,
    InUse,
    NoSuchMailbox,
    NoSuchMessage,
    NotPermitted,
    OverQuota,
    Target,
    Unavailable,
)

FLAGGED = "\\Flagged"


class Plain:
    """The least that a store needs of a property message."""

    modified = False

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        headers = {b"Message-ID": b"<" + octets[:20] + b">"} if octets.startswith(b"id") else {}
        self.structure = SimpleNamespace(headers=headers)


class SlowBackend(MemoryBackend):
    """Settles on the event loop's later rounds; can be held, and told to fail."""

    def __init__(self) -> None:
        self.jobs: deque = deque()
        self.records: list = []
        self.held = False
        self.failing = False

    async def commit(self, changes, settle) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self.jobs.append((changes, settle, waiter))
        asyncio.get_running_loop().call_soon(self.pump)
        try:
            await asyncio.shield(waiter)
        except asyncio.CancelledError:
            await asyncio.wait([waiter])
            raise

    def pump(self) -> None:
        if self.held:
            return
        while self.jobs:
            changes, settle, waiter = self.jobs.popleft()
            settle(not self.failing)
            if self.failing:
                waiter.set_exception(Unavailable("told to fail"))
                waiter.exception()
            else:
                self.records.extend(changes)
                waiter.set_result(None)


class Bench:
    """A store, and ways to hold its backend and to make it fail."""

    def __init__(self, kind: str, directory) -> None:
        self.kind = kind
        self.directory = directory
        self.time = 1_700_000_000.0
        self.settings = Settings(vanished_remembered_max=1000)
        self.blocker: sqlite3.Connection | None = None
        self.store = self.open()

    def open(self) -> Store:
        if self.kind == "durable":
            backend = DurableBackend(self.directory, cache_bytes_max=20_000, codec=Codec(Plain, Plain))
            store = Store(self.settings, backend, now=lambda: self.time)
            backend.open(store.restore)
            return store
        return Store(self.settings, SlowBackend() if self.kind == "slow" else None, now=lambda: self.time)

    async def reopen(self) -> None:
        if self.kind == "durable":
            await self.store.close()
            self.store = self.open()

    def hold(self) -> None:
        if self.kind == "slow":
            self.store.backend.held = True
        elif self.kind == "durable":
            self.blocker = sqlite3.connect(self.store.backend.path, isolation_level=None)
            self.blocker.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        if self.kind == "slow":
            self.store.backend.held = False
            self.store.backend.pump()
        elif self.blocker is not None:
            self.blocker.execute("ROLLBACK")
            self.blocker.close()
            self.blocker = None

    def fail(self, failing: bool = True) -> None:
        if self.kind == "slow":
            self.store.backend.failing = failing
            return
        run = self.store.backend._writer._connection.execute
        for change in ("INSERT ON messages", "UPDATE ON messages", "DELETE ON folders"):
            name = "fails_" + change[:3]
            if failing:
                run(f"CREATE TEMP TRIGGER {name} BEFORE {change} BEGIN SELECT raise(ABORT, 'told to fail'); END")
            else:
                run(f"DROP TRIGGER {name}")

    def recovers(self) -> None:
        self.fail(False)

    def content(self, octets: bytes):
        return self.store.content_of(Plain(octets), octets)

    async def put(self, folder, octets: bytes = b"hello", *flags: str):
        return (await self.store.append([(self.content(octets), [Target(folder, frozenset(flags))])]))[0][0]


def snapshot(store: Store) -> dict:
    def of(folder):
        messages = [
            (m.uid, m.modseq, m.flags, m.internal_date, m.zone_minutes, m.save_date, m.content.digest)
            for m in folder.messages
        ]
        about = replace(folder.saved())
        return about, messages, folder.size, folder.unseen, folder.deleted, list(folder.vanished), folder.uids

    return {
        "mailboxes": {
            name: ({f: of(folder) for f, folder in m.folders.items()}, m.subscriptions, m.size)
            for name, m in store.mailboxes.items()
        },
        "newsgroups": {name: of(folder) for name, folder in store.newsgroups.items()},
        "annotations": store.annotations,
        "spool_done": store.spool_done,
        "contents": {digest: c.references for digest, c in store._contents.items()},
        "ids": {key: [(m.folder.name, m.uid) for m in copies] for key, copies in store._message_ids.items()},
    }


@pytest.fixture(params=["memory", "slow", "durable"])
async def bench(request, tmp_path):
    bench = Bench(request.param, tmp_path / "data")
    yield bench
    bench.release()
    for folder in bench.store.folders_by_id.values():
        assert folder.messages_pending == 0
        assert not folder.pending_flags
        assert not folder.leaving
        assert not folder.closing
        assert folder.modseq_drawn >= folder.highest_modseq
        assert folder.uids == sorted(set(folder.uids))
    assert all(mailbox.size_pending == 0 for mailbox in bench.store.mailboxes.values())
    assert len(bench.store._turns) == 0
    if bench.kind == "durable":
        before = snapshot(bench.store)
        await bench.reopen()
        assert snapshot(bench.store) == before
        await bench.store.close()
        assert check_directory(bench.directory).problems == []


def suspending(test):
    """For what only shows with a backend that suspends."""
    return pytest.mark.parametrize("bench", ["slow", "durable"], indirect=True)(test)


async def started(coroutine) -> asyncio.Task:
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(0)
    return task


class Listener:
    def __init__(self) -> None:
        self.seen: list = []

    def appended(self, message) -> None:
        self.seen.append(("appended", message.uid, message.folder.highest_modseq))

    def flags_changed(self, message) -> None:
        self.seen.append(("flags", message.uid, message.modseq))

    def expunged(self, messages) -> None:
        self.seen.append(("expunged", [m.uid for m in messages]))

    def folder_gone(self, folder) -> None:
        self.seen.append(("gone", folder.name))


# --- mailboxes and folders --------------------------------------------------------------------------------------------


async def test_a_new_mailbox_has_its_folders_and_subscriptions(bench):
    alice = await bench.store.create_mailbox("alice")
    assert sorted(alice.folders) == ["Drafts", "INBOX", "Junk", "Sent", "Trash"]
    assert alice.folders["Sent"].special_use == "\\Sent"
    assert alice.subscriptions == set(alice.folders)
    assert await bench.store.create_mailbox("alice") is alice


async def test_concurrent_deliveries_make_one_mailbox(bench):
    made = await asyncio.gather(*(bench.store.create_mailbox("alice") for _ in range(10)))
    assert len({id(mailbox) for mailbox in made}) == 1
    assert len(bench.store.folders_by_id) == 5


async def test_uid_validity_ascends_though_the_clock_goes_back(bench):
    alice = await bench.store.create_mailbox("alice")
    one = await bench.store.create_folder(alice, "one")
    bench.time -= 1000
    await bench.store.delete_folder(one)
    await bench.reopen()
    alice = bench.store.mailboxes["alice"]
    two = await bench.store.create_folder(alice, "one")
    assert two.uid_validity > one.uid_validity
    assert two.folder_id > one.folder_id


async def test_create_makes_the_levels_above(bench):
    alice = await bench.store.create_mailbox("alice")
    await bench.store.create_folder(alice, "a/b/c")
    assert {"a", "a/b", "a/b/c"} <= set(alice.folders)
    with pytest.raises(AlreadyExists):
        await bench.store.create_folder(alice, "a/b")
    with pytest.raises(AlreadyExists):
        await bench.store.create_folder(alice, "inbox")


async def test_two_sessions_create_the_same_folder_at_once(bench):
    alice = await bench.store.create_mailbox("alice")
    done = await asyncio.gather(
        *(bench.store.create_folder(alice, "new/folder") for _ in range(3)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in done) == ["AlreadyExists", "AlreadyExists", "Folder"]


async def test_delete_with_children_leaves_a_name_that_cannot_be_selected(bench):
    alice = await bench.store.create_mailbox("alice")
    await bench.store.create_folder(alice, "a/b")
    await bench.put(alice.folders["a"])
    old = alice.folders["a"]
    await bench.store.delete_folder(old)
    assert old.gone
    assert not alice.folders["a"].selectable
    assert alice.size == 0
    with pytest.raises(NotPermitted):
        await bench.store.delete_folder(alice.folders["a"])
    with pytest.raises(NoSuchMailbox):
        await bench.put(alice.folders["a"])
    remade = await bench.store.create_folder(alice, "a")
    assert remade.selectable
    assert remade.uid_validity > old.uid_validity


async def test_delete_is_refused_for_inbox_and_for_what_is_gone(bench):
    alice = await bench.store.create_mailbox("alice")
    with pytest.raises(NotPermitted):
        await bench.store.delete_folder(alice.inbox)
    folder = await bench.store.create_folder(alice, "x")
    done = await asyncio.gather(*(bench.store.delete_folder(folder) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in done] == [type(None), NoSuchMailbox]


async def test_rename_moves_the_levels_below(bench):
    alice = await bench.store.create_mailbox("alice")
    await bench.store.create_folder(alice, "a/b/c")
    message = await bench.put(alice.folders["a/b"])
    identity = alice.folders["a/b"].mailbox_id
    await bench.store.rename_folder(alice.folders["a"], "x/y")
    assert {"x", "x/y", "x/y/b", "x/y/b/c"} <= set(alice.folders)
    assert "a" not in alice.folders
    assert message.folder.name == "x/y/b"
    assert message.folder.mailbox_id == identity
    with pytest.raises(NotPermitted):
        await bench.store.rename_folder(alice.folders["x"], "x/y/z/w")
    with pytest.raises(AlreadyExists):
        await bench.store.rename_folder(alice.folders["x"], "Sent")


async def test_renaming_inbox_gives_its_messages_away(bench):
    alice = await bench.store.create_mailbox("alice")
    first, second = await bench.put(alice.inbox, b"1", SEEN), await bench.put(alice.inbox, b"2")
    await bench.store.rename_folder(alice.inbox, "old/mail")
    assert [(m.flags, m.size) for m in alice.folders["old/mail"].messages] == [({SEEN}, 1), (frozenset(), 1)]
    assert alice.inbox.messages == []
    assert first.expunged
    assert second.expunged
    assert alice.inbox.vanished_since(0) == [1, 2]
    await bench.store.rename_folder(alice.inbox, "empty")
    assert alice.folders["empty"].messages == []


async def test_subscriptions_are_names_only(bench):
    alice = await bench.store.create_mailbox("alice")
    await asyncio.gather(*(bench.store.subscribe(alice, f"name {n}", True) for n in range(5)))
    await bench.store.subscribe(alice, "INBOX", False)
    assert {f"name {n}" for n in range(5)} <= alice.subscriptions
    assert not alice.inbox.subscribed


async def test_delete_mailbox(bench):
    alice = await bench.store.create_mailbox("alice")
    await bench.put(alice.inbox)
    await bench.store.annotate("mailbox:alice", "quota", b"1")
    listener = Listener()
    alice.inbox.listen(listener)
    await bench.store.delete_mailbox("alice")
    assert bench.store.mailboxes == {}
    assert bench.store.folders_by_id == {}
    assert bench.store.annotations == {}
    assert listener.seen == [("gone", "INBOX")]
    with pytest.raises(NoSuchMailbox):
        await bench.put(alice.inbox)
    with pytest.raises(NoSuchMailbox):
        bench.store.mailbox("alice")


@pytest.mark.parametrize("name", ["bad\ud800name", "line\nbreak", "x" * 2000, ""])
async def test_names_that_nothing_could_show_are_refused(bench, name):
    alice = await bench.store.create_mailbox("alice")
    with pytest.raises(NotPermitted):
        await bench.store.create_folder(alice, name)
    with pytest.raises(NotPermitted):
        await bench.store.rename_folder(alice.folders["Sent"], name)
    with pytest.raises(NotPermitted):
        await bench.store.create_mailbox(name)
    with pytest.raises(NotPermitted):
        await bench.store.create_newsgroup(name)


# --- newsgroups -------------------------------------------------------------------------------------------------------


async def test_newsgroups_find_articles_by_message_id(bench):
    one = await bench.store.create_newsgroup("misc.test", description="Testing", posting="m")
    two = await bench.store.create_newsgroup("alt.test")
    with pytest.raises(AlreadyExists):
        await bench.store.create_newsgroup("misc.test")
    octets = b"id-1 article"
    [copies] = await bench.store.append([(bench.content(octets), [Target(one), Target(two)])])
    message_id = b"<" + octets[:20] + b">"
    assert list(bench.store.find_message_id(message_id)) == copies
    await bench.store.expunge(one, [copies[0]])
    assert list(bench.store.find_message_id(message_id)) == [copies[1]]
    await bench.reopen()
    assert [m.folder.name for m in bench.store.find_message_id(message_id)] == ["alt.test"]
    await bench.store.delete_newsgroup("alt.test")
    assert bench.store.find_message_id(message_id) == ()
    with pytest.raises(NoSuchMailbox):
        await bench.store.delete_newsgroup("alt.test")


# --- appending --------------------------------------------------------------------------------------------------------


async def test_append_counts_and_tells(bench):
    alice = await bench.store.create_mailbox("alice")
    listener = Listener()
    alice.inbox.listen(listener)
    await bench.put(alice.inbox, b"one")
    await bench.put(alice.inbox, b"two", SEEN, DELETED)
    assert (alice.inbox.size, alice.inbox.unseen, alice.inbox.deleted, alice.size) == (6, 1, 1, 6)
    assert (alice.inbox.uid_next, alice.inbox.highest_modseq) == (3, 3)
    assert listener.seen == [("appended", 1, 2), ("appended", 2, 3)]


@suspending
async def test_nothing_is_visible_before_it_is_durable(bench):
    alice = await bench.store.create_mailbox("alice")
    bench.hold()
    tasks = [await started(bench.put(alice.inbox, b"x%d" % n)) for n in range(3)]
    assert alice.inbox.messages == []
    assert (alice.inbox.uid_next, alice.inbox.highest_modseq, alice.size) == (1, 1, 0)
    bench.release()
    assert [m.uid for m in await asyncio.gather(*tasks)] == [1, 2, 3]
    assert (alice.inbox.uid_next, alice.inbox.highest_modseq) == (4, 4)


@suspending
async def test_a_failed_append_leaves_no_trace(bench):
    alice = await bench.store.create_mailbox("alice")
    await bench.put(alice.inbox, b"kept")
    before = snapshot(bench.store)
    bench.fail()
    with pytest.raises(Unavailable):
        await bench.put(alice.inbox, b"lost")
    bench.recovers()
    assert snapshot(bench.store) == before
    after = await bench.put(alice.inbox, b"lost")
    assert after.uid > 1
    assert (await bench.store.read(after)).octets == b"lost"


@suspending
async def test_a_cancelled_caller_does_not_tear_the_index_from_the_disk(bench):
    alice = await bench.store.create_mailbox("alice")
    bench.hold()
    task = await started(bench.put(alice.inbox, b"x"))
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done(), "it waits: the change cannot be recalled"
    bench.release()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [m.uid for m in alice.inbox.messages] == [1]


async def test_all_or_none(bench):
    alice = await bench.store.create_mailbox("alice")
    gone = await bench.store.create_folder(alice, "gone")
    await bench.store.delete_folder(gone)
    with pytest.raises(NoSuchMailbox):
        await bench.store.append([(bench.content(b"x"), [Target(alice.inbox)]), (bench.content(b"y"), [Target(gone)])])
    assert alice.inbox.messages == []
    assert bench.store._contents == {}


async def test_limits_count_what_is_on_its_way(bench):
    bench.settings = bench.store.settings = replace(bench.settings, mailbox_bytes_max=10, messages_per_folder_max=3)
    alice = await bench.store.create_mailbox("alice")
    done = await asyncio.gather(*(bench.put(alice.inbox, b"1234") for _ in range(3)), return_exceptions=True)
    assert [isinstance(each, OverQuota) for each in done] == [False, False, True]
    group = await bench.store.create_newsgroup("g")
    done = await asyncio.gather(*(bench.put(group, b"1234") for _ in range(4)), return_exceptions=True)
    assert [isinstance(each, OverQuota) for each in done] == [False, False, False, True]


async def test_equal_octets_are_one_content(bench):
    alice, bob = await bench.store.create_mailbox("alice"), await bench.store.create_mailbox("bob")
    one, two = await asyncio.gather(bench.put(alice.inbox, b"same"), bench.put(bob.inbox, b"same"))
    assert one.content is two.content
    assert one.email_id == two.email_id
    assert one.content.references == 2
    await bench.store.expunge(alice.inbox, [one])
    assert (await bench.store.read(two)).octets == b"same"
    await bench.store.expunge(bob.inbox, [two])
    assert bench.store._contents == {}
    again = await bench.put(alice.inbox, b"same")
    await bench.reopen()
    again = bench.store.mailboxes["alice"].inbox.messages[0]
    assert (await bench.store.read(again)).octets == b"same"


@suspending
async def test_a_content_forgotten_and_wanted_again_at_once(bench):
    alice = await bench.store.create_mailbox("alice")
    first = await bench.put(alice.inbox, b"same")
    content = bench.content(b"same")
    bench.hold()
    expunge = await started(bench.store.expunge(alice.inbox, [first]))
    copy = await started(bench.store.copy([first], alice.folders["Sent"]))
    bench.release()
    await asyncio.gather(expunge, copy)
    assert (await bench.store.read(alice.folders["Sent"].messages[0])).octets == b"same"
    await bench.store.expunge(alice.folders["Sent"], alice.folders["Sent"].messages)
    await bench.store.append([(content, [Target(alice.inbox)])])
    await bench.reopen()
    [message] = bench.store.mailboxes["alice"].inbox.messages
    assert (await bench.store.read(message)).octets == b"same"


async def test_spool_names_are_remembered_with_the_delivery(bench):
    alice = await bench.store.create_mailbox("alice")
    await bench.store.append([(bench.content(b"x"), [Target(alice.inbox)])], spool_name="AAAA0001")
    assert bench.store.spool_done == {"AAAA0001"}
    await bench.reopen()
    assert bench.store.spool_done == {"AAAA0001"}
    await bench.store.forget_spool_name("AAAA0001")
    await bench.store.forget_spool_name("unknown")
    await bench.reopen()
    assert bench.store.spool_done == set()


@pytest.mark.parametrize("bench", ["slow"], indirect=True)
async def test_what_goes_lazily_goes_again_after_a_failure(bench):
    alice = await bench.store.create_mailbox("alice")
    await bench.store.append([(bench.content(b"x"), [Target(alice.inbox)])], spool_name="A")
    await bench.store.forget_spool_name("A")
    bench.fail()
    with pytest.raises(Unavailable):
        await bench.put(alice.inbox)
    bench.recovers()
    await bench.put(alice.inbox)
    kinds = [type(record) for record in bench.store.backend.records]
    assert kinds.count(SpoolDone) == kinds.count(SpoolForgotten) == 1
    assert ContentForgotten not in kinds


# --- deleting while others work ---------------------------------------------------------------------------------------


@suspending
async def test_nothing_is_put_into_a_folder_whose_deletion_is_on_its_way(bench):
    alice = await bench.store.create_mailbox("alice")
    folder = await bench.store.create_folder(alice, "x")
    message = await bench.put(alice.inbox)
    bench.hold()
    before = await started(bench.put(folder, b"before"))
    deletion = await started(bench.store.delete_folder(folder))
    with pytest.raises(NoSuchMailbox):
        await bench.put(folder, b"after")
    with pytest.raises(NoSuchMailbox):
        await bench.store.copy([message], folder)
    with pytest.raises(NoSuchMailbox):
        await bench.store.move([message], folder)
    bench.release()
    await asyncio.gather(before, deletion)
    assert before.result().expunged
    assert "x" not in alice.folders


@suspending
async def test_a_failed_deletion_leaves_the_folder_as_it_was(bench):
    alice = await bench.store.create_mailbox("alice")
    folder = await bench.store.create_folder(alice, "x")
    bench.fail()
    with pytest.raises(Unavailable):
        await bench.store.delete_folder(folder)
    bench.recovers()
    await bench.put(folder)
    assert len(folder.messages) == 1


async def test_moving_within_a_mailbox_is_no_matter_of_its_quota(bench):
    alice = await bench.store.create_mailbox("alice")
    folder = await bench.store.create_folder(alice, "Kept")
    message = await bench.put(alice.inbox)
    bench.store.settings = replace(bench.store.settings, mailbox_bytes_max=message.size)
    with pytest.raises(OverQuota):
        await bench.store.copy([message], folder)
    await bench.store.move([message], folder)
    assert ([m.uid for m in folder.messages], alice.inbox.messages, alice.size) == ([1], [], message.size)


async def test_the_mod_sequence_can_be_raised_by_itself(bench):
    alice = await bench.store.create_mailbox("alice")
    message = await bench.put(alice.inbox)
    listener = Listener()
    alice.inbox.listen(listener)
    before = alice.inbox.highest_modseq
    await bench.store.advance_modseq(alice.inbox)
    assert (alice.inbox.highest_modseq, message.modseq, listener.seen) == (before + 1, before, [])


# --- flags ------------------------------------------------------------------------------------------------------------


async def test_flags(bench):
    alice = await bench.store.create_mailbox("alice")
    message = await bench.put(alice.inbox)
    listener = Listener()
    alice.inbox.listen(listener)
    set_flags = bench.store.set_flags
    assert await set_flags(alice.inbox, [message], "+", frozenset({SEEN, "$Work"})) == ([message], [])
    assert await set_flags(alice.inbox, [message], "-", frozenset({SEEN})) == ([message], [])
    assert await set_flags(alice.inbox, [message], "-", frozenset({SEEN})) == ([message], [])
    assert await set_flags(alice.inbox, [message], "=", frozenset({DELETED})) == ([message], [])
    assert (message.flags, message.modseq, alice.inbox.highest_modseq) == ({DELETED}, 5, 5)
    assert (alice.inbox.unseen, alice.inbox.deleted) == (1, 1)
    assert listener.seen == [("flags", 1, 3), ("flags", 1, 4), ("flags", 1, 5)]
    assert await set_flags(alice.inbox, [message], "+", frozenset({SEEN}), unchanged_since=4) == ([], [message])
    assert await set_flags(alice.inbox, [message], "+", frozenset({SEEN}), unchanged_since=5) == ([message], [])
    await bench.store.expunge(alice.inbox, [message])
    assert await set_flags(alice.inbox, [message], "+", frozenset({FLAGGED})) == ([], [])


async def test_concurrent_changes_of_flags_add_up(bench):
    alice = await bench.store.create_mailbox("alice")
    message = await bench.put(alice.inbox)
    names = [f"keyword{n}" for n in range(20)]
    await asyncio.gather(*(bench.store.set_flags(alice.inbox, [message], "+", frozenset({n})) for n in names))
    assert message.flags == set(names)


@suspending
async def test_unchanged_since_sees_what_is_on_its_way(bench):
    alice = await bench.store.create_mailbox("alice")
    message = await bench.put(alice.inbox)
    seen = message.modseq
    bench.hold()
    first = await started(bench.store.set_flags(alice.inbox, [message], "+", frozenset({SEEN}), unchanged_since=seen))
    second = await started(
        bench.store.set_flags(alice.inbox, [message], "+", frozenset({FLAGGED}), unchanged_since=seen)
    )
    assert message.modseq == seen
    bench.release()
    assert await first == ([message], [])
    assert await second == ([], [message])
    assert message.flags == {SEEN}


@suspending
async def test_a_change_built_on_one_that_failed_fails_with_it(bench):
    alice = await bench.store.create_mailbox("alice")
    message = await bench.put(alice.inbox)
    bench.hold()
    bench.fail()
    first = await started(bench.store.set_flags(alice.inbox, [message], "+", frozenset({SEEN})))
    second = await started(bench.store.set_flags(alice.inbox, [message], "+", frozenset({FLAGGED})))
    third = await started(bench.store.set_flags(alice.inbox, [message], "+", frozenset({SEEN})))
    bench.release()
    for task in (first, second, third):
        with pytest.raises(Unavailable):
            await task
    assert message.flags == frozenset()
    bench.recovers()
    await bench.store.set_flags(alice.inbox, [message], "+", frozenset({FLAGGED}))
    assert message.flags == {FLAGGED}


# --- expunging, copying, moving ---------------------------------------------------------------------------------------


async def test_expunge(bench):
    alice = await bench.store.create_mailbox("alice")
    messages = [await bench.put(alice.inbox, b"%d" % n) for n in range(6)]
    listener = Listener()
    alice.inbox.listen(listener)
    assert await bench.store.expunge(alice.inbox, [messages[4], messages[1]]) == [2, 5]
    assert await bench.store.expunge(alice.inbox, [messages[1]]) == []
    assert await bench.store.expunge(alice.inbox, [messages[0]]) == [1]
    assert [m.uid for m in alice.inbox.messages] == [3, 4, 6]
    assert alice.inbox.by_uid(4) is messages[3]
    assert alice.inbox.by_uid(5) is None
    assert [m.uid for m in alice.inbox.slice_by_uid(2, 4)] == [3, 4]
    assert alice.inbox.vanished_since(7) == [1, 2, 5]
    assert alice.inbox.vanished_since(8) == [1]
    assert listener.seen == [("expunged", [2, 5]), ("expunged", [1])]
    await bench.store.expunge(alice.inbox, alice.inbox.messages)
    await bench.reopen()
    new = await bench.put(bench.store.mailboxes["alice"].inbox)
    assert new.uid == 7, "UIDs are not used again"


async def test_two_sessions_expunge_the_same_messages(bench):
    alice = await bench.store.create_mailbox("alice")
    messages = [await bench.put(alice.inbox, b"%d" % n) for n in range(4)]
    one, two = await asyncio.gather(
        bench.store.expunge(alice.inbox, messages[:3]), bench.store.expunge(alice.inbox, messages[1:])
    )
    assert (one, two) == ([1, 2, 3], [4])
    assert alice.inbox.messages == []
    assert alice.size == 0


async def test_copy_keeps_flags_and_dates(bench):
    alice = await bench.store.create_mailbox("alice")
    target = Target(alice.inbox, frozenset({SEEN, "$x"}), 1234.0, -90)
    [[message]] = await bench.store.append([(bench.content(b"x"), [target])])
    bench.time += 5
    [copy] = await bench.store.copy([message], alice.folders["Sent"])
    assert (copy.flags, copy.internal_date, copy.zone_minutes) == (message.flags, 1234.0, -90)
    assert copy.save_date == message.save_date + 5
    assert await bench.store.copy([], alice.folders["Sent"]) == []


async def test_move(bench):
    alice = await bench.store.create_mailbox("alice")
    messages = [await bench.put(alice.inbox, b"%d" % n, FLAGGED) for n in range(3)]
    moved = await bench.store.move(messages[:2], alice.folders["Trash"])
    assert [m.flags for m in moved] == [{FLAGGED}] * 2
    assert [m.uid for m in alice.inbox.messages] == [3]
    assert alice.size == 3
    assert await bench.store.move(messages[:2], alice.folders["Trash"]) == []
    [again] = await bench.store.move(moved[:1], alice.folders["Trash"])
    assert [m.uid for m in alice.folders["Trash"].messages] == [2, again.uid]


@suspending
async def test_a_message_is_moved_once(bench):
    alice = await bench.store.create_mailbox("alice")
    message = await bench.put(alice.inbox)
    done = await asyncio.gather(
        bench.store.move([message], alice.folders["Trash"]),
        bench.store.move([message], alice.folders["Junk"]),
        return_exceptions=True,
    )
    assert isinstance(done[1], NoSuchMessage)
    assert len(alice.folders["Trash"].messages) == 1
    assert alice.folders["Junk"].messages == []


@suspending
async def test_a_failed_move_leaves_the_messages_where_they_were(bench):
    alice = await bench.store.create_mailbox("alice")
    message = await bench.put(alice.inbox)
    before = snapshot(bench.store)
    bench.fail()
    with pytest.raises(Unavailable):
        await bench.store.move([message], alice.folders["Trash"])
    bench.recovers()
    assert snapshot(bench.store) == before
    assert len(await bench.store.move([message], alice.folders["Trash"])) == 1


async def test_mod_sequences_become_visible_in_ascending_order(bench):
    alice = await bench.store.create_mailbox("alice")
    inbox = alice.inbox
    seen: list[int] = []

    class Watch(Listener):
        def appended(self, message) -> None:
            seen.append(message.modseq)

        def flags_changed(self, message) -> None:
            seen.append(message.modseq)

        def expunged(self, messages) -> None:
            seen.append(inbox.highest_modseq)

    inbox.listen(Watch())

    async def session(n: int) -> None:
        message = await bench.put(inbox, b"%d" % n)
        await bench.store.set_flags(inbox, [message], "+", frozenset({DELETED}))
        await bench.store.expunge(inbox, [message])

    await asyncio.gather(*(session(n) for n in range(25)))
    assert seen == sorted(set(seen))
    assert len(seen) == 75


# --- the rest ---------------------------------------------------------------------------------------------------------


async def test_annotations(bench):
    await bench.store.annotate("server", "/comment", b"a")
    await bench.store.annotate("server", "/comment", b"b")
    await bench.store.annotate("server", "/other", b"c")
    await bench.store.annotate("server", "/other", None)
    await bench.reopen()
    assert bench.store.annotations == {("server", "/comment"): b"b"}


async def test_the_maildrop_has_one_holder(bench):
    alice = await bench.store.create_mailbox("alice")
    one, two = object(), object()
    bench.store.lock_maildrop(alice, one)
    bench.store.lock_maildrop(alice, one)
    with pytest.raises(InUse):
        bench.store.lock_maildrop(alice, two)
    bench.store.unlock_maildrop(alice, two)
    with pytest.raises(InUse):
        bench.store.lock_maildrop(alice, two)
    bench.store.unlock_maildrop(alice, one)
    bench.store.lock_maildrop(alice, two)


async def test_what_cannot_be_remembered_of_expunges_is_admitted(bench):
    bench.settings = bench.store.settings = replace(bench.settings, vanished_remembered_max=2)
    alice = await bench.store.create_mailbox("alice")
    for n in range(4):
        await bench.store.expunge(alice.inbox, [await bench.put(alice.inbox, b"%d" % n)])
    assert alice.inbox.vanished_since(1) is None
    assert alice.inbox.vanished_since(5) == [3, 4]


async def test_thousands_in_one_change(bench):
    """A scan of the folder for each message would take longer than a test may."""
    alice = await bench.store.create_mailbox("alice")
    items = [(bench.content(b"%d" % n), [Target(alice.inbox)]) for n in range(5000)]
    await bench.store.append(items)
    await bench.store.set_flags(alice.inbox, alice.inbox.messages, "+", frozenset({SEEN}))
    await bench.store.expunge(alice.inbox, alice.inbox.messages[::2])
    assert len(alice.inbox.messages) == 2500


async def test_large_operations_give_others_their_turn(bench):
    """STORE, MOVE and EXPUNGE need not be one step (RFC 6851 section 3.3): each message is here or there."""
    alice = await bench.store.create_mailbox("alice")
    work = await bench.store.create_folder(alice, "work")
    store, folder = bench.store, alice.inbox
    contents = [store.content_of(Plain(b"%d" % n), b"%d" % n) for n in range(2500)]
    await store.append([(content, [Target(folder)]) for content in contents])
    turns = []

    async def pause() -> None:
        turns.append((len(folder.messages), len(work.messages)))
        await asyncio.sleep(0)

    store.pause = pause
    done, failed = await store.set_flags(folder, folder.messages, "+", frozenset({"\\Deleted"}))
    assert (len(done), failed, folder.deleted) == (2500, [], 2500)
    new = await store.move(folder.messages, work)
    assert [message.uid for message in new] == work.uids == list(range(1, 2501))
    assert folder.messages == folder.uids == []
    assert turns == [(2500, 0), (2500, 0), (1500, 1000), (500, 2000)]
    gone = work.messages[:1200] + work.messages[1201:]
    assert await store.expunge(work, gone) == [uid for uid in range(1, 2501) if uid != 1201]
    assert work.uids == [1201]
    assert len(turns) == 6
