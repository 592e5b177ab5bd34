"""Random histories of the store beside a model of a few lines, in memory and on disk, with reopening in between."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from emulator.config import Settings
from emulator.durable.backend import DurableBackend
from emulator.durable.bodies import Codec
from emulator.durable.check import check_directory
from emulator.store import Store
from protocols.ports import PortError, Target

FOLDERS = ("INBOX", "a", "a/b", "c")
FLAGS = ("\\Seen", "\\Deleted", "$k")


class Plain:
    modified = False
    structure = SimpleNamespace(headers={})

    def __init__(self, octets: bytes) -> None:
        self.octets = octets


class Model:
    """What must be so: by folder name, {uid: [flags, octets]}; and the largest UID ever seen by UIDVALIDITY."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[int, list]] = {}
        self.largest: dict[int, int] = {}


class StoreMachine(RuleBasedStateMachine):
    durable = False

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp())
        self.model = Model()
        self.open()
        self.mailbox = self.run(self.store.create_mailbox("alice"))
        self.model.folders["INBOX"] = {}

    def open(self) -> None:
        self.settings = Settings(default_folders=())
        if not self.durable:
            self.store = Store(self.settings)
            return
        backend = DurableBackend(self.directory, cache_bytes_max=5000, codec=Codec(Plain, Plain))
        self.store = Store(self.settings, backend)
        backend.open(self.store.restore)

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def folder(self, name: str):
        return self.mailbox.folders.get(name)

    def chosen(self, name: str, picks: set[int]) -> list:
        folder = self.folder(name)
        return [] if folder is None else [m for n, m in enumerate(folder.messages) if n in picks]

    def there(self, name: str) -> bool:
        folder = self.folder(name)
        return folder is not None and folder.selectable

    @rule(names=st.lists(st.sampled_from(FOLDERS), max_size=3), body=st.integers(0, 5), flag=st.sampled_from(FLAGS))
    def append(self, names: list[str], body: int, flag: str) -> None:
        octets = b"body %d" % body * 10
        targets = [Target(self.folder(name), frozenset({flag})) for name in names if self.there(name)]
        [new] = self.run(self.store.append([(self.store.content_of(Plain(octets), octets), targets)]))
        for message in new:
            self.new(message, octets)

    def new(self, message, octets: bytes) -> None:
        folder = message.folder
        assert message.uid > self.model.largest.get(folder.uid_validity, 0), "a UID was used again"
        self.model.largest[folder.uid_validity] = message.uid
        self.model.folders[folder.name][message.uid] = [set(message.flags), octets]

    @rule(
        name=st.sampled_from(FOLDERS),
        picks=st.sets(st.integers(0, 6)),
        mode=st.sampled_from("+-="),
        flags=st.sets(st.sampled_from(FLAGS)),
    )
    def set_flags(self, name: str, picks: set[int], mode: str, flags: set[str]) -> None:
        messages = self.chosen(name, picks)
        if not messages:
            return
        self.run(self.store.set_flags(self.folder(name), messages, mode, frozenset(flags)))
        for message in messages:
            row = self.model.folders[name][message.uid]
            row[0] = {"+": row[0] | flags, "-": row[0] - flags, "=": set(flags)}[mode]

    @rule(name=st.sampled_from(FOLDERS), picks=st.sets(st.integers(0, 6)))
    def expunge(self, name: str, picks: set[int]) -> None:
        messages = self.chosen(name, picks)
        if not messages:
            return
        removed = self.run(self.store.expunge(self.folder(name), messages))
        assert removed == [m.uid for m in messages]
        for uid in removed:
            del self.model.folders[name][uid]

    @rule(
        name=st.sampled_from(FOLDERS),
        into=st.sampled_from(FOLDERS),
        picks=st.sets(st.integers(0, 6)),
        move=st.booleans(),
    )
    def copy_or_move(self, name: str, into: str, picks: set[int], move: bool) -> None:
        messages = self.chosen(name, picks)
        if not messages or not self.there(into):
            return
        rows = {m.uid: self.model.folders[name][m.uid] for m in messages}
        operation = self.store.move if move else self.store.copy
        new = self.run(operation(messages, self.folder(into)))
        if move:
            for uid in rows:
                del self.model.folders[name][uid]
        for message, (_, octets) in zip(new, rows.values(), strict=True):
            self.new(message, octets)

    @rule(name=st.sampled_from(FOLDERS))
    def create(self, name: str) -> None:
        try:
            self.run(self.store.create_folder(self.mailbox, name))
        except PortError:
            return
        for each in {name, name.partition("/")[0]}:
            self.model.folders.setdefault(each, {})

    @rule(name=st.sampled_from(FOLDERS))
    def delete(self, name: str) -> None:
        if self.folder(name) is None:
            return
        try:
            self.run(self.store.delete_folder(self.folder(name)))
        except PortError:
            return
        del self.model.folders[name]
        if name in self.mailbox.folders:
            self.model.folders[name] = {}

    @rule()
    def three_sessions_at_once(self) -> None:
        inbox = self.mailbox.inbox
        octets = b"at once"

        async def session(n: int) -> None:
            [[message]] = await self.store.append([(self.store.content_of(Plain(octets), octets), [Target(inbox)])])
            await self.store.set_flags(inbox, [message], "+", frozenset({FLAGS[n]}))
            if n == 1:
                await self.store.expunge(inbox, [message])

        async def all_three() -> None:
            await asyncio.gather(*(session(n) for n in range(3)))

        before = inbox.uid_next
        self.run(all_three())
        for message in inbox.slice_by_uid(before, inbox.uid_next):
            self.new(message, octets)
        self.model.largest[inbox.uid_validity] = inbox.uid_next - 1

    @rule()
    def reopen(self) -> None:
        if self.durable:
            self.run(self.store.close())
            assert check_directory(self.directory).problems == []
            self.open()
            self.mailbox = self.store.mailbox("alice")

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        assert set(self.mailbox.folders) == set(self.model.folders)
        for name, rows in self.model.folders.items():
            folder = self.mailbox.folders[name]
            assert folder.uids == list(rows) == [m.uid for m in folder.messages]
            assert [m.flags for m in folder.messages] == [row[0] for row in rows.values()]
            assert folder.size == sum(len(row[1]) for row in rows.values())
            assert folder.unseen == sum("\\Seen" not in row[0] for row in rows.values())
            assert folder.deleted == sum("\\Deleted" in row[0] for row in rows.values())
            assert folder.uid_next > max(folder.uids, default=0)
            assert all(m.modseq <= folder.highest_modseq for m in folder.messages)
            for message, row in zip(folder.messages, rows.values(), strict=True):
                assert self.run(self.store.read(message)).octets == row[1]

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.directory)


class DurableStoreMachine(StoreMachine):
    durable = True


_CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]

TestMemory = StoreMachine.TestCase
TestMemory.settings = settings(max_examples=40, stateful_step_count=30, suppress_health_check=_CHECKS)
TestDurable = DurableStoreMachine.TestCase
TestDurable.settings = settings(max_examples=12, stateful_step_count=25, suppress_health_check=_CHECKS)
