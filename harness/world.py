"""A mailjam without an event loop: the real store, converter, queues and handlers under an exploration engine.

`World` assembles the emulator's own classes over a scheduler that hands every preemption point to the search
(harness.exploration). Nothing of the converter, the store or the sections is replaced; what is wrapped only *declares*
what it touches, so that the reduction knows which steps commute:

* `X.wanted` in front of a section is possible only while the section is free (or owned by the actor itself). That is
  the same set of orders as the section's own queue gives: whoever queues could as well have come later.
* Each change of a folder is a WRITE of it, each change of mailboxes a WRITE of "store"; each reply to a peer is a READ
  of both, for all folders that the peer can see; spool, work queues and the cache of converted messages have keys of
  their own.

The mailboxes' own messages are converted once for an exploration; each message that comes in is converted in each
execution anew. What can change is put back to its beginning for each execution: the world is built once, and rewound
object by object (harness.exploration.rewind).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from emulator import changes, imail
from emulator.builds import SECTION_RANKS, Build
from emulator.changes import Change, Loaded, MemoryBackend, Settle, SpoolDone, SpoolForgotten
from emulator.config import Settings
from emulator.content import Content
from emulator.converter import Converter
from emulator.directory import Directory
from emulator.events import Bus
from emulator.folder import Folder
from emulator.mts import Gateway, MessageTransferStub, Transfer
from emulator.properties import PropertyMessage
from emulator.queues import InboundMail, NotificationThread, QueueClosed, WorkQueue
from emulator.scheduling import READY, Point
from emulator.sections import CriticalSection, Sections
from emulator.spool import Envelope, MemorySpool
from emulator.store import Store
from harness.exploration import ops
from harness.exploration.execution import Actor as EngineActor
from harness.exploration.execution import Program
from harness.exploration.ops import ACQUIRE, READ, RELEASE, WRITE, Access, Op, Waiter, touch
from harness.exploration.rewind import Rewinder
from protocols.actor import Actor, current_actor
from protocols.ports import Services
from protocols.reader import Buffer

STORE, FOLDER, CACHE, QUEUE, SPOOL, DIRECTORY, SITE = (
    "store",
    "folder",
    "cache",
    "queue",
    "spool",
    "directory",
    "site addressing",
)

_TOUCHED_WHILE_RUNNING = frozenset((STORE, SPOOL, DIRECTORY, ""))
"""Targets of points whose objects declare each access themselves, as the code behind the point runs."""


class PointOp(Op):
    """A preemption point of the emulator, in front of which an explored actor stands."""

    __slots__ = ("point", "section")

    def __init__(self, point: Point, section: CriticalSection | None, enabled: Callable[[], bool] | None) -> None:
        accesses: tuple[Access, ...] = ()
        if section is not None:
            accesses = ((point.target, ACQUIRE if enabled is not None else WRITE),)
        elif point.kind in ("read", "write") and point.target not in _TOUCHED_WHILE_RUNNING:
            accesses = ((point.target, WRITE if point.kind == "write" else READ),)
        super().__init__("point", point.name, accesses=accesses, enabled=enabled, guarded=False)
        self.point = point
        self.section = section

    def __str__(self) -> str:
        return self.point.name


_PLAIN: dict[str, PointOp] = {}
"""The operations of points without a guard: the same for all executions, since they carry no state."""


PAUSE = PointOp(Point("pause"), None, None)


class _Waiter(Waiter):
    """The engine's one-shot event with the emulator's words."""

    __slots__ = ()

    def fail(self, error: Exception) -> None:
        """End the wait with an error."""
        self.wake(error)


class ExploredScheduler:
    """`emulator.scheduling.Scheduler` for the engine: points and waits are operations."""

    def __init__(self) -> None:
        self.sections: Sections | None = None
        self.operations: dict[tuple[str, Actor], PointOp] = {}
        """Those made for an actor at a section: the same for all executions in one world."""

    def waiter(self) -> _Waiter:
        """A wait for somebody's `wake`; who queues behind whom is shared state."""
        touch("waiters", WRITE)
        return _Waiter()

    def reach(self, point: Point) -> Awaitable[None]:
        """The operation for a point.

        A point of kind `stage` is passed at once: what stands between it and the next point touches nothing shared
        that is not declared while it runs, so stopping there could not bring up any other order.
        """
        kind = point.kind
        if kind == "stage":
            return READY
        if kind != "acquire":
            op = _PLAIN.get(point.name)
            if op is None:
                op = _PLAIN[point.name] = PointOp(point, None, None)
            return op
        actor = current_actor.get()
        key = (point.name, actor)
        op = self.operations.get(key)
        if op is None:
            assert self.sections is not None
            section = self.sections[point.target.removeprefix("section:")]
            op = PointOp(point, section, lambda: section.owner is None or section.owner is actor)
            self.operations[key] = op
        elif op.section is not None and op.section.owner is actor:
            return PointOp(point, op.section, None)
        return op

    def pause(self) -> Awaitable[None]:
        """A place where another actor may go on; what spins here for ever reaches the limit of steps."""
        return PAUSE

    def now(self) -> float:
        """There is no time in an exploration."""
        return 0.0

    def spawn(self, actor: Actor, coroutine: Coroutine[Any, Any, None]) -> Any:
        """Actors of an exploration are named by its scenario."""
        coroutine.close()
        raise RuntimeError(f"{actor} may not be spawned inside an exploration")


class ExploredSection(CriticalSection):
    """Declares when it becomes free, also where an exception leaves it without passing a point."""

    __slots__ = ()

    def leave(self) -> None:
        running = ops._running
        if running is None:  # the engine closes what jammed, outside of the actor's context
            return
        super().leave()
        running.touched.append(_RELEASES[self.name])


_RELEASES: dict[str, Access] = {name: (f"section:{name}", RELEASE) for name in SECTION_RANKS}
_POINTS: dict[tuple[str, str], tuple[Point, Point, Point]] = {}


class ExploredSections(Sections):
    """The critical sections of one world; the points, which never change, are shared by all worlds."""

    def __init__(self, scheduler: ExploredScheduler, bus: Bus) -> None:
        self._scheduler = scheduler
        self._points = _POINTS
        self._steps = {}
        self._sections = {name: ExploredSection(name, rank, scheduler, bus) for name, rank in SECTION_RANKS.items()}
        self.violations = Counter()


_OWN_CHANGES = (SpoolDone, SpoolForgotten)
"""Changes about a spool file, which belongs to the one actor that delivers it."""


class _Backend(MemoryBackend):
    """Declares the changes of the store."""

    async def commit(self, changes: Sequence[Change], settle: Settle) -> None:
        for change in changes:
            folder_id = getattr(change, "folder_id", None)
            if folder_id is not None:
                touch((FOLDER, folder_id), WRITE)
            elif not isinstance(change, _OWN_CHANGES):
                touch(STORE, WRITE)
        settle(True)

    async def read(self, content: Content, ahead: Sequence[Content] = ()) -> Any:
        touch(STORE, READ)
        return await super().read(content)


class _Spool(MemorySpool):
    """Declares its accesses."""

    async def write(self, folder: str, envelope: Envelope, octets: bytes) -> str:
        touch(SPOOL, WRITE)
        return await super().write(folder, envelope, octets)

    async def read(self, folder: str, name: str) -> tuple[Envelope, bytes]:
        touch((SPOOL, name), READ)
        return await super().read(folder, name)

    async def remove(self, folder: str, name: str) -> None:
        touch((SPOOL, name), WRITE)
        await super().remove(folder, name)

    async def move(self, folder: str, name: str, target: str, reason: str) -> None:
        touch(SPOOL, WRITE)
        touch((SPOOL, name), WRITE)
        await super().move(folder, name, target, reason)


class _Cache(OrderedDict[bytes, bytes]):
    """The converter's cache of converted messages, which declares who looks and who puts."""

    def get(self, key: bytes, default: Any = None) -> Any:
        touch((CACHE, key), READ)
        return super().get(key, default)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        touch((CACHE, key), WRITE)
        super().__setitem__(key, value)


class _Directory(Directory):
    """Declares its changes and the lookups that depend on the store's mailboxes."""

    def find(self, address: str) -> str | None:
        touch(STORE, READ)
        return super().find(address)

    def changed(self, what: str) -> None:
        touch(DIRECTORY, WRITE)
        super().changed(what)


class ClosingQueue(WorkQueue[Any]):
    """A work queue whose workers go home when it is empty: all that a scenario has to convert is in it by then."""

    def put(self, item: Any) -> None:
        touch(QUEUE, WRITE)
        super().put(item)

    async def get(self) -> Any:
        touch(QUEUE, WRITE)
        if not self._items:
            raise QueueClosed
        return await super().get()


class FixedClock:
    """Time that stands still: an exploration is about order, not about durations."""

    def time(self) -> float:
        return 974_000_000.0  # November 2000, when SP4 came out

    def monotonic(self) -> float:
        return 0.0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        return self

    def cancel(self) -> None:
        """The handle of a call that never comes."""

    async def sleep(self, seconds: float) -> None:
        """Time does not pass."""


class MemoryConnection:
    """A peer that says what it has to say: `prologue` before the exploration begins, `request` once it is granted.

    Fulfils `protocols.ports.Connection`.
    """

    tls = False
    tls_available = False
    compressed = False
    peer = "127.0.0.1:1"

    def __init__(self, prologue: bytes, request: bytes, start: Op | None, sees: Sequence[int]) -> None:
        """`sees`: the folders that a reply can tell about."""
        self.buffer = Buffer()
        self.buffer.feed(prologue)
        self.sent: list[bytes] = []
        self._sees = tuple((FOLDER, folder_id) for folder_id in sees)
        self._request: bytes | None = request
        self._start = start
        self._fresh = bool(prologue)

    def write(self, pieces: Sequence[bytes]) -> None:
        """A reply may say anything about what the peer can see, so it counts as a look at that."""
        self._look()
        self.sent.extend(pieces)

    async def drain(self) -> None:
        """The peer reads at once."""

    async def more(self, seconds_max: float | None) -> bool:
        if self._fresh:
            self._fresh = False
            return True
        if self._request is None:
            return False
        if self._start is not None:
            await self._start
        self._look()
        self.buffer.feed(self._request)
        self._request = None
        return True

    def _look(self) -> None:
        touch(STORE, READ)
        for folder in self._sees:
            touch(folder, READ)

    def poke(self) -> None:
        """A session that is woken between commands would look again; the peer's next command does that as well."""

    async def start_tls(self) -> None:
        raise RuntimeError("no TLS in an exploration")

    def start_compression(self) -> None:
        raise RuntimeError("no DEFLATE in an exploration")

    def channel_binding(self, kind: str) -> bytes | None:
        return None

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class MailboxSpec:
    """A mailbox and the messages in its INBOX; with `public`, a newsgroup."""

    name: str
    messages: tuple[bytes, ...] = ()
    public: bool = False


class Template:
    """The immutable part of a world: settings, build, mailboxes, converted messages. Made once per exploration."""

    def __init__(self, settings: Settings, mailboxes: Sequence[MailboxSpec]) -> None:
        self.settings = replace(settings, default_folders=())
        self.build: Build = settings.find_build()
        self.mailboxes = tuple(mailboxes)
        self._saved: list[changes.FolderSaved] = []
        self._contents: list[tuple[int, bytes, int, Any, bytes]] = []
        self._rows: list[changes.MessageRow] = []
        for mailbox in mailboxes:
            self._add(mailbox)

    def _add(self, spec: MailboxSpec) -> None:
        folder_id = len(self._saved) + 1
        owner = None if spec.public else spec.name
        name = spec.name if spec.public else "INBOX"
        folder = Folder(folder_id, None, name, 1, 0.0)
        for uid, octets in enumerate(spec.messages, 1):
            content = Store.content_of(self, imail.inbound(octets), octets)  # type: ignore[arg-type]
            row = len(self._contents) + 1
            self._contents.append((row, content.digest, content.size, content.message, content.message_id))
            self._rows.append((folder_id, uid, uid + 1, frozenset(), 0.0, 0, 0.0, row))
        folder.uid_next = len(spec.messages) + 1
        folder.highest_modseq = len(spec.messages) + 1
        self._saved.append(replace(folder.saved(), mailbox=owner))

    def loaded(self) -> Loaded:
        """What a store of a new world starts from."""
        contents = {}
        for row, digest, size, properties, message_id in self._contents:
            content = contents[row] = Content(digest, size, properties, message_id)
            content.row = row
        return Loaded(
            mailboxes=[spec.name for spec in self.mailboxes if not spec.public],
            folders=self._saved,
            contents=contents,
            messages=self._rows,
            last_folder_id=len(self._saved),
            last_uid_validity=1,
        )


class ExploredConnector:
    """A connector to another mail system that takes everything for `elsewhere.example`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.carried: list[Transfer] = []

    def takes(self, address: str) -> bool:
        return address.endswith("@elsewhere.example")

    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        touch(("connector", self.name), WRITE)
        self.carried.append(transfer)


class World:
    """One system. `act(actor, coroutine)` lets an actor take part; `program()` hands it to the engine."""

    def __init__(self, template: Template) -> None:
        settings, build = template.settings, template.build
        self.template = template
        self.scheduler = ExploredScheduler()
        self.clock = FixedClock()
        self.bus = Bus()
        self.sections = ExploredSections(self.scheduler, self.bus)
        self.scheduler.sections = self.sections
        self.store = Store(settings, _Backend(), now=self.clock.time)
        self.store.restore(template.loaded())
        self.directory = _Directory(settings, self.store, self.bus)
        self.converter = Converter(settings, build, self.sections, self.scheduler, self.store)
        self.converter._cache = _Cache()
        self.kinds: list[str] = []
        self.actors: list[Actor] = []
        self.connections: list[tuple[str, MemoryConnection]] = []
        self._programs: list[EngineActor] = []
        self._contexts: dict[Actor, tuple[str, Context]] = {}

    def act(self, actor: Actor, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let an actor take part, in a context of its own."""
        seat = self._contexts.get(actor)
        if seat is None:
            context = copy_context()
            context.run(current_actor.set, actor)
            seat = self._contexts[actor] = (actor.name, context)
        name, context = seat
        actor.stack_of = coroutine
        self._programs.append(EngineActor(name, coroutine, context.copy()))

    @cached_property
    def spool(self) -> MemorySpool:
        """The spool, in memory."""
        return _Spool(_names())

    @cached_property
    def inbound(self) -> InboundMail:
        """The inbound side of the Internet Mail Service, without workers: its participants are the workers."""
        inbound = InboundMail(
            self.template.settings,
            self.scheduler,
            self.clock,
            self.bus,
            self.spool,
            self.store,
            self.directory,
            self.converter,
        )
        inbound.queue = ClosingQueue(self.scheduler)
        return inbound

    @cached_property
    def services(self) -> Services:
        """What the sessions of this world reach."""
        return Services(
            self.store,
            self.converter,
            self.directory,
            self.inbound,
            self.clock,
            self.bus,
            self.template.settings.front_end,
            random_octets=bytes,
        )

    @cached_property
    def notification(self) -> NotificationThread:
        """The directory-notification thread, whose queue ends with the scenario."""
        thread = NotificationThread(self.scheduler, self.bus, self.converter, self.directory)
        thread.queue = ClosingQueue(self.scheduler)
        return thread

    @cached_property
    def mts(self) -> MessageTransferStub:
        """The MTA's part, without gateways at first."""
        return MessageTransferStub(self.template.settings, self.scheduler, self.directory, self.converter)

    def gateway(self, name: str) -> Gateway:
        """The gateway of that name, logged on without threads: its participants are the threads."""
        gateway = self.mts.gateways.get(name)
        if gateway is None:
            queues = ClosingQueue(self.scheduler), ClosingQueue(self.scheduler)
            gateway = self.mts.gateways[name] = Gateway(ExploredConnector(name), *queues)
        return gateway

    def program(self, release: Callable[[], None] | None = None) -> Program:
        """The program of this world, for the engine."""
        return Program(self._programs, self.observe, release)

    def rewinder(self) -> Rewinder:
        """What puts this world back to the state that it has now, instead of making another one."""
        return Rewinder(
            [self],
            opaque=(Template, Settings, PropertyMessage),
            keep=[self.scheduler.operations, self._contexts, _POINTS],
        )

    def observe(self) -> Hashable:
        """Everything an observer could see at the end: folders, spool, replies, who owns which section."""
        return (
            *[
                (folder.folder_id, *[(m.uid, m.content.digest, m.flags) for m in folder.messages])
                for folder in self.store.folders_by_id.values()
            ],
            *([tuple(files) for files in self.spool._files.values()] if "spool" in self.__dict__ else ()),
            *[(name, b"".join(connection.sent)) for name, connection in self.connections],
            *[(section.name, section.owner.name) for section in self.sections if section.owner is not None],
        )


def _names() -> Callable[[], str]:
    """Spool names that are the same in every execution."""
    count = 0

    def draw() -> str:
        nonlocal count
        count += 1
        return f"SPOOL{count:03}"

    return draw


__all__ = ["ClosingQueue", "MailboxSpec", "MemoryConnection", "PointOp", "Template", "World"]
