"""protocols/imap/folder_index.py and search.py: what the index finds is what a look at each message finds."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.config import Settings
from emulator.content import Content
from emulator.store import Store
from protocols.imap import folder_index, search
from protocols.imap.folder_index import INDEX_KEY, FolderIndex, index_of
from protocols.imap.records import SEARCH_KEY, SearchRecord
from protocols.imap.scanner import Scanner
from protocols.imap.search import run
from protocols.imap.search_keys import KeyReader
from protocols.imap.view import View
from protocols.ports import Target

FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "$Junk", "$junk")
LEAVES = (
    "ALL",
    "SEEN",
    "UNSEEN",
    "UNDELETED",
    "NEW",
    "OLD",
    "RECENT",
    "KEYWORD $Junk",
    "UNKEYWORD $junk",
    "LARGER 2",
    "SUBJECT a",
    "SUBJECT ab",
    'FROM ""',
    "HEADER To b",
    "SENTBEFORE 3-Jan-1970",
    "SENTON 3-Jan-1970",
    "1:3",
    "UID 2:4,7",
)
PROGRAMS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        inner.map("NOT {}".format),
        st.tuples(inner, inner).map(lambda two: f"OR {two[0]} {two[1]}"),
        st.lists(inner, min_size=1, max_size=3).map(" ".join).map("({})".format),
    ),
    max_leaves=5,
)
SOME = st.sets(st.integers(0, 12), min_size=1, max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 6)),
        st.tuples(st.sampled_from("+-="), SOME, st.frozensets(st.sampled_from(FLAGS), max_size=2)),
        st.tuples(st.just("expunge"), SOME),
        st.tuples(st.just("move"), SOME),
        st.tuples(st.just("apply"), st.booleans()),
        st.tuples(st.just("search"), st.sampled_from(LEAVES)),
        st.tuples(st.just("search"), PROGRAMS),
    ),
    max_size=25,
)


class World:
    """A store, a folder, a view of it, and conversion that finds records only on demand."""

    def __init__(self) -> None:
        self.store = Store(Settings(), now=lambda: 5.0)
        self.made = 0
        self.meanwhile: Any = None
        clock = SimpleNamespace(time=lambda: 9.0, monotonic=lambda: 0.0, sleep=self._sleep)
        conversion = SimpleNamespace(derive=self._derive)
        self.services = SimpleNamespace(store=self.store, clock=clock, conversion=conversion, shared={})
        self.session: Any = SimpleNamespace(
            services=self.services,
            rev2=False,
            vanished=False,
            uidonly=False,
            tag=b"a",
            settings=SimpleNamespace(capabilities_hidden=()),
            something_happened=lambda: None,
            announced=lambda messages: None,
            flags_response=lambda view, number, message: b"",
            rights=lambda folder: "lrswite",
        )

    async def _sleep(self, seconds: float) -> None:
        """Others have their turn."""

    async def _derive(self, message: Any, key: str, compute: Any) -> SearchRecord:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        number = message.content.size
        record = SearchRecord("a" * number, "ab"[: number % 3], "", "", "xab"[: number % 4], "", number % 5)
        message.content.derived[key] = record
        return record

    async def open(self) -> None:
        mailbox = await self.store.create_mailbox("alice")
        self.folder = mailbox.inbox
        self.other = await self.store.create_folder(mailbox, "other")
        self.view = View(self.session, self.folder, read_only=False)

    async def append(self, count: int) -> None:
        for _ in range(count):
            self.made += 1
            content = Content(b"%d" % self.made, self.made % 7)
            await self.store.append([(content, [Target(self.folder)])])

    def chosen(self, indexes: set[int]) -> list[Any]:
        return [message for index, message in enumerate(self.folder.messages) if index in indexes]

    async def check(self, text: str) -> None:
        def program() -> Any:
            return KeyReader(Scanner((text.encode(),)), self.view, now=9.0).program()

        found = await run(self.session, self.view, program())
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(search, "INDEXED_MESSAGES_MIN", 1 << 30)
            slowly = await run(self.session, self.view, program())
        assert list(found) == list(slowly)
        assert [self.view.messages[number - 1] for number in found.numbers] == found.messages

    async def step(self, step: Any) -> None:
        name, argument = step[0], step[1]
        if name == "append":
            await self.append(argument)
        elif name == "expunge":
            await self.store.expunge(self.folder, self.chosen(argument))
        elif name == "move":
            await self.store.move(self.chosen(argument), self.other)
        elif name == "apply":
            self.view.updates(expunge=argument)
        elif name == "search":
            await self.check(argument)
        else:
            await self.store.set_flags(self.folder, self.chosen(argument), name, step[2])


@settings(max_examples=80)
@given(STEPS, PROGRAMS)
def test_the_index_follows_the_folder(steps: list[Any], program: str) -> None:
    async def play() -> None:
        world = World()
        await world.open()
        await world.append(8)
        world.view.updates(expunge=True)
        for step in steps:
            await world.step(step)
            await world.check(program)
        world.view.updates(expunge=True)
        for text in ("UNSEEN", "KEYWORD $junk", "SUBJECT ab", program):
            await world.check(text)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(search, "INDEXED_MESSAGES_MIN", 1)
        patched.setattr(folder_index, "BLOCK_MESSAGES", 3)
        patched.setattr(folder_index, "FLAGS_MAX", 2)
        patched.setattr(folder_index, "REMOVED_FEW", 2)
        patched.setattr(folder_index, "LOAD_MESSAGES", 4)
        patched.setattr(folder_index, "BLOCK_CHARACTERS_MAX", 9)
        asyncio.run(play())


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(search, "INDEXED_MESSAGES_MIN", 1)
    world = World()
    await world.open()
    await world.append(20)
    world.view.updates(expunge=True)
    return world


@pytest.mark.parametrize("happens", ["append", "expunge", "search"])
async def test_what_happens_while_records_are_made(world: World, happens: str) -> None:
    async def meanwhile() -> None:
        if happens == "append":
            await world.append(3)
        elif happens == "expunge":
            await world.store.expunge(world.folder, world.chosen({0, 5, 19}))
        else:
            await world.check("SUBJECT xa")

    world.meanwhile = meanwhile
    await world.check("SUBJECT xab")
    world.view.updates(expunge=True)
    await world.check("SUBJECT xab")
    assert index_of(world.session, world.folder)._records == [
        m.content.derived[SEARCH_KEY] for m in world.folder.messages
    ]


async def test_indexes_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_index, "FOLDERS_MAX", 2)
    mailbox: Any = world.folder.owner
    folders = [await world.store.create_folder(mailbox, name) for name in ("a", "b", "c")]
    indexes = [index_of(world.session, folder) for folder in folders]
    assert list(world.services.shared[INDEX_KEY]) == folders[1:]
    assert indexes[0].gone
    assert indexes[0] not in folders[0].listeners
    assert index_of(world.session, folders[1]) is indexes[1]
    monkeypatch.setattr(folder_index, "MESSAGES_MAX", 19)
    index_of(world.session, world.folder)
    assert list(world.services.shared[INDEX_KEY]) == [world.folder]


async def test_a_folder_that_is_gone_gets_another_index(world: World) -> None:
    index = index_of(world.session, world.folder)
    assert index.flag("\\Seen") == 0
    index.folder_gone(world.folder)
    assert isinstance(index_of(world.session, world.folder), FolderIndex)
    assert index_of(world.session, world.folder) is not index
    other = await world.store.create_folder(world.folder.owner, "short-lived")  # type: ignore[arg-type]
    index_of(world.session, other)
    await world.store.delete_folder(other)
    index_of(world.session, world.folder)
    assert list(world.services.shared[INDEX_KEY]) == [world.folder]


async def test_columns_follow_flags_and_expunges(world: World) -> None:
    texts = ("SEEN", "UNSEEN", "KEYWORD $Junk", "SUBJECT xab")
    for text in texts:
        await world.check(text)
    for step in (
        ("+", {2, 5, 6}, frozenset({"\\Seen", "$Junk"})),
        ("-", {5}, frozenset({"\\Seen"})),
        ("=", {1}, frozenset({"\\Seen"})),
        ("append", 2),
        ("expunge", {0, 3}),
        ("+", {7}, frozenset({"\\Seen"})),
        ("expunge", {1, 2}),
    ):
        await world.step(step)
        world.view.updates(expunge=True)
        for text in texts:
            await world.check(text)
