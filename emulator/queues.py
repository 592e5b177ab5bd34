"""The queues of the Internet Mail Service and their workers (KB Q156063 section 3.2.11).

*Inbound awaiting conversion* (files in `In`), *inbound awaiting delivery* (MTS-IN), *outbound awaiting conversion*
(MTS-OUT) and *outbound awaiting delivery* (`Out`). This file has the inbound side (`protocols.ports.Submission`) and
the directory-notification thread; `outbound.py` has the other.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from protocols.actor import Actor, current_actor
from protocols.ports import Clock, NoSuchMailbox, OverQuota, PortError, Rejected, Target, Unavailable

from . import dsn
from .events import Bus, DirectoryChanged, MessageAccepted, MessageBad, MessageDelivered, SiteAddressingRebuilt
from .held import HeldMail
from .poison import corrupt_encapsulation, signed
from .scheduling import Scheduler, Waiter
from .spool import BAD, IN, Envelope, Spool
from .thread_pool import NoThread, ThreadPool

if TYPE_CHECKING:
    from .config import Settings
    from .content import Content
    from .converter import Converter
    from .directory import Directory
    from .store import Store

T = TypeVar("T")

RETRY_SECONDS_MIN = 0.25
RETRY_SECONDS_MAX = 30.0
"""A delivery that the store could not take is tried again after these, the pause doubling each time."""


COMMITS_MAX = 256
"""Messages that workers have converted and whose commits they do not wait for."""


class SeriousError(Unavailable):
    """The error of one message that stops the whole service (event 4182, KB Q193782); it stays in `In`."""


class TooOften(Exception):
    """Conversion of a message has ended the process, or was ended with it, as often as is allowed."""


class Items(Protocol[T]):
    """What a queue keeps its items in."""

    def __len__(self) -> int: ...
    def append(self, item: T, /) -> None: ...
    def popleft(self) -> T: ...


class QueueClosed(Exception):
    """Nothing more comes out of the queue: its service is stopping."""


class WorkQueue(Generic[T]):
    """First in, first out, for several workers; blocks only through the scheduler."""

    def __init__(self, scheduler: Scheduler, items: Items[T] | None = None) -> None:
        """`items`: in what order they come out, where it is not the order in which they went in."""
        self._scheduler = scheduler
        self._items: Items[T] = deque() if items is None else items
        self._idle: deque[Waiter] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item; the caller bounds the queue."""
        self._items.append(item)
        self._wake_one()

    async def get(self) -> T:
        """The oldest item. Raises QueueClosed."""
        while not self._items or self._closed:
            if self._closed:
                raise QueueClosed
            waiter = self._scheduler.waiter()
            self._idle.append(waiter)
            try:
                await waiter
            except BaseException:
                if waiter in self._idle:
                    self._idle.remove(waiter)
                else:
                    self._wake_one()  # it was woken for an item that it will not take
                raise
        return self._items.popleft()

    def close(self) -> None:
        """Let the workers go home; items stay."""
        self._closed = True
        while self._idle:
            self._idle.popleft().wake()

    def open(self) -> None:
        """Undo `close`."""
        self._closed = False
        for _ in range(len(self._items)):
            self._wake_one()

    def _wake_one(self) -> None:
        if self._idle:
            self._idle.popleft().wake()


Carry = Callable[[str, str, bytes], Awaitable[bool]]
"""(reverse-path, address, octets) → whether a gateway takes it."""


@dataclass(slots=True)
class _Delivery:
    """One attempt to get a message into its mailboxes."""

    name: str
    envelope: Envelope | None = None
    """None until it was read."""
    octets: bytes = b""
    outcomes: list[dsn.Outcome] = field(default_factory=list)


class InboundMail:
    """SMTP's way in: spool, queue, workers, mailboxes. Fulfils `protocols.ports.Submission`."""

    def __init__(
        self,
        settings: Settings,
        scheduler: Scheduler,
        clock: Clock,
        bus: Bus,
        spool: Spool,
        store: Store,
        directory: Directory,
        converter: Converter,
    ) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._clock = clock
        self._bus = bus
        self._spool = spool
        self._store = store
        self._directory = directory
        self._converter = converter
        self.queue: WorkQueue[str] = WorkQueue(scheduler)
        self._held = HeldMail(scheduler, clock, spool, settings.spool_after_seconds)
        self._commits = 0
        """Messages that were converted and are on their way to the disk."""
        self._commit_waiters: list[Waiter] = []
        self._sizes: dict[str, int] = {}
        """Octets of each message, waiting or in conversion."""
        self._octets = 0
        self._attempts: Counter[str] = Counter()
        """How often conversion of a message has begun."""
        self._suspects: set[str] = set()
        """Messages whose attempts are noted in the spool: they failed before, or an earlier process left them."""
        self._delays: dict[str, float] = {}
        self._unsettled = 0
        self._settled_waiters: list[Waiter] = []
        self.report: Callable[[Envelope, bytes, Sequence[dsn.Outcome]], Awaitable[None]] | None = None
        """Sends delivery status notifications; set where there is an outbound side."""
        self.carry: Carry | None = None
        """Takes a message for an address that belongs to a gateway (`mts.MessageTransferStub.carry`)."""
        self._carried: dict[str, set[str]] = {}
        """Addresses of a message in `In` whose gateways have it, while something else keeps the message there."""
        self.workers: list[Any] = []
        self.threads: ThreadPool | None = None
        """Threads of the information store, one of which each delivery needs; None: as many as are asked for."""
        self.failed: Callable[[str], None] = lambda text: None
        """Called with the error that the service is to be stopped for."""
        self.accepted_count = 0
        self.delivered_count = 0
        self.bad_count = 0

    # --- protocols.ports.Submission -----------------------------------------------------------------------------------

    @property
    def extensions(self) -> frozenset[str]:
        """What of SMTP is honoured behind the front-end; `outbound.InternetMail` can do more."""
        return frozenset()

    async def start_queue(self, node: str) -> int:
        """Nothing is held for anybody."""
        return 0

    async def submit(self, reverse_path: str, recipients: Sequence[str], octets: bytes, options: Any = None) -> str:
        """Queue the message, and return once it is in `In` or in its mailboxes.

        Raises Unavailable at the queue's limit or when the disk fails.
        """
        self._check_room(len(octets))
        self._unsettled += 1
        envelope = Envelope(reverse_path, tuple(recipients), self._clock.time(), dict(options or {}))
        if self._held.takes(self._unsettled):
            name = self._held.take(envelope, octets)
            self._accept(name, envelope, len(octets))
            await self._held.safe(name)
        else:
            try:
                name = await self._spool.write(IN, envelope, octets)
            except BaseException:
                self._settle()
                raise
            self._accept(name, envelope, len(octets))
        self.accepted_count += 1
        return name

    def _accept(self, name: str, envelope: Envelope, size: int) -> None:
        self._enqueue(name, size)
        if self._bus.wanted(MessageAccepted):
            self._bus.publish(MessageAccepted(name, envelope.reverse_path, envelope.recipients, size))

    def _check_room(self, octets: int) -> None:
        settings = self._settings
        if self._unsettled >= settings.inbound_queue_messages_max:
            raise Unavailable(f"{self._unsettled} messages await conversion; try again later")
        if self._octets + octets > settings.inbound_queue_bytes_max:
            raise Unavailable("the inbound queue is full; try again later")

    def check_recipient(self, address: str) -> None:
        """Raises NoSuchMailbox, Unavailable."""
        self._check_room(0)
        self._directory.check_recipient(address)

    # --- the queue ----------------------------------------------------------------------------------------------------

    def _enqueue(self, name: str, size: int) -> None:
        self._sizes[name] = size
        self._octets += size
        self.queue.put(name)

    def _settle(self) -> None:
        self._unsettled -= 1
        if self._unsettled == 0:
            waiters, self._settled_waiters = self._settled_waiters, []
            for waiter in waiters:
                waiter.wake()

    async def recover(self) -> int:
        """Queue what an earlier process left in `In`: how many. Files that were delivered already are removed."""
        count = 0
        for name, size in await self._spool.names(IN):
            if name in self._store.spool_done:
                await self._spool.remove(IN, name)
                continue
            if name in self._sizes:  # it stayed in the queue while the service was stopped
                continue
            self._suspects.add(name)
            self._attempts[name] = self._spool.attempts(name)
            self._unsettled += 1
            self._enqueue(name, size)
            count += 1
        return count

    @property
    def awaiting_conversion(self) -> int:
        """Messages that wait for conversion or are in it: *Queued Inbound*."""
        return self._unsettled

    async def settled(self) -> None:
        """Wait until everything that was accepted is in a mailbox (or in BAD)."""
        if self._unsettled:
            waiter = self._scheduler.waiter()
            self._settled_waiters.append(waiter)
            await waiter

    def abandon(self) -> None:
        """The process has ended: nothing is queued any more; `recover` finds in `In` what there is to do."""
        self.queue = WorkQueue(self._scheduler)
        self._held.clear()
        self._attempts.clear()
        self._suspects.clear()
        self._sizes.clear()
        self._octets = self._unsettled = 0

    # --- the workers --------------------------------------------------------------------------------------------------

    def start_workers(self) -> None:
        """Start `inbound_threads` workers."""
        self.queue.open()
        self.workers = [
            self._scheduler.spawn(actor, self._work(actor))
            for actor in (Actor("inbound") for _ in range(self._settings.inbound_threads))
        ]

    async def _work(self, actor: Actor) -> None:
        while True:
            try:
                name = await self.queue.get()
            except QueueClosed:
                break
            actor.doing = name
            await self._deliver(_Delivery(name))
            actor.doing = ""
        while self._commits:
            waiter = self._scheduler.waiter()
            self._commit_waiters.append(waiter)
            await waiter

    async def _deliver(self, delivery: _Delivery) -> None:
        name = delivery.name

        async def read() -> tuple[Envelope, bytes]:
            await self._begin(name)
            envelope, octets = self._held.read(name) or await self._spool.read(IN, name)
            delivery.envelope, delivery.octets = envelope, octets
            current_actor.get().doing = f"{name} from <{envelope.reverse_path}>"
            return envelope, octets

        async def resolve(envelope: Envelope) -> list[Target]:
            octets = delivery.octets
            if name in self._suspects:
                await self._spool.note_attempts(name, 0)
            here = await self._without_carried(name, envelope, octets)
            if not here and envelope.recipients:
                return []  # all of it leaves by gateways
            envelope = replace(envelope, recipients=tuple(here))
            return await self._targets(envelope, delivery.outcomes, len(octets) + len(return_path(envelope)))

        try:
            async with self._store_thread():
                content, targets = await self._converter.take_in(read, resolve, return_path)
                if self._overlaps:
                    self._commits += 1
                    actor = Actor("inbound-commit", doing=name)
                    self._scheduler.spawn(actor, self._append_and_tell(delivery, content, targets))
                else:
                    await self._append(delivery, content, targets)
        except Exception as error:  # whatever a poison message does, the queue goes on (KB Q232279)
            await self._not_delivered(delivery, error)

    async def _begin(self, name: str) -> None:
        """Count an attempt, so that no message ends one process after the other for ever. Raises TooOften."""
        if self._attempts[name] >= self._settings.conversion_attempts_max:
            raise TooOften(f"its conversion did not come to an end {self._attempts[name]} times")
        self._attempts[name] += 1
        if name in self._suspects:
            await self._spool.note_attempts(name, self._attempts[name])

    @property
    def _overlaps(self) -> bool:
        """Whether a worker goes on while the disk has its last message, so that many share a sync.

        Not where threads of the information store are few, for then such a thread is held until the commit.
        """
        few_threads = self.threads is not None and self.threads.threads_max is not None
        return self._spool.durable and self._commits < COMMITS_MAX and not few_threads

    async def _append_and_tell(self, delivery: _Delivery, content: Content, targets: Sequence[Target]) -> None:
        try:
            await self._append(delivery, content, targets)
        except Exception as error:
            await self._not_delivered(delivery, error)
        finally:
            self._commits -= 1
            if not self._commits:
                waiters, self._commit_waiters = self._commit_waiters, []
                for waiter in waiters:
                    waiter.wake()

    async def _append(self, delivery: _Delivery, content: Content, targets: Sequence[Target]) -> None:
        name = delivery.name
        await self._held.claim(name)
        messages = await self._converter.append(content, targets, name, spool_file=not self._held.holds(name))
        was_held = self._held.let_go(name)
        await self._report(delivery, delivery.outcomes)
        if not was_held:
            await self._remove(name)
        self.delivered_count += 1
        self._done(name)
        if self._bus.wanted(MessageDelivered):
            folders = tuple(f"{m.folder.owner.name}/{m.folder.name}" for m in messages if m.folder.owner)
            self._bus.publish(MessageDelivered(name, folders, tuple(messages)))

    async def _not_delivered(self, delivery: _Delivery, error: Exception) -> None:
        """The message is in `In` now, or its sender is told that it was not taken."""
        name = delivery.name
        if isinstance(error, FileNotFoundError) or not await self._held.secure(name):
            self._done(name)
        elif isinstance(error, SeriousError):
            self._attempts.pop(name, None)
            self.queue.close()
            self.queue.put(name)
            self.failed(f"a serious error in spool file {name}, which will be retried: {error}")
        elif isinstance(error, TooOften):
            await self._give_up(name, str(error))
        elif isinstance(error, Unavailable | OSError):
            self._try_again_later(name)
        elif isinstance(error, PortError):
            await self._report(delivery, _all_failed(delivery, error))
            await self._give_up(name, str(error))
        else:
            await self._try_again_or_give_up(name, f"conversion failed: {type(error).__name__}: {error}")

    async def _without_carried(self, name: str, envelope: Envelope, octets: bytes) -> list[str]:
        """The recipients that no gateway takes; the others' gateways have the message now, once."""
        if self.carry is None:
            return list(envelope.recipients)
        carried = self._carried.setdefault(name, set())
        here: list[str] = []
        for address in envelope.recipients:
            if address in carried:
                continue
            if await self.carry(envelope.reverse_path, address, octets):
                carried.add(address)
            else:
                here.append(address)
        if not carried:
            del self._carried[name]
        return here

    @contextlib.asynccontextmanager
    async def _store_thread(self) -> AsyncIterator[None]:
        """A thread of the information store. Raises SeriousError when it has none for too long (KB Q169686)."""
        if self.threads is None or self.threads.threads_max is None:
            yield
            return
        try:
            await self.threads.take(self._settings.store_thread_seconds_max)
        except NoThread as error:
            raise SeriousError(f"error 0x80040115 talking to the information store (3039): {error}") from error
        try:
            yield
        finally:
            self.threads.give_back()

    async def _remove(self, name: str) -> None:
        """The message is delivered. Should removing its file fail, the store remembers the delivery."""
        with contextlib.suppress(OSError):
            await self._spool.remove(IN, name)
        for gone in self._spool.gone():
            await self._store.forget_spool_name(gone)

    async def _report(self, delivery: _Delivery, outcomes: Sequence[dsn.Outcome]) -> None:
        """Tell the sender what it wants to know of its recipients (RFC 3461)."""
        if self.report is not None and delivery.envelope is not None and outcomes:
            await self.report(delivery.envelope, delivery.octets, outcomes)

    async def _targets(self, envelope: Envelope, outcomes: list[dsn.Outcome], octets: int) -> list[Target]:
        """The mailboxes of the recipients, each once. Raises Rejected when there is none.

        A mailbox without room for so many `octets` is left out, so that it does not keep the message from the others.
        What becomes of each recipient is noted in `outcomes`; of success only where somebody asked.
        """
        names: list[str] = []
        for address in self._counted(envelope.recipients):
            names.extend(self._directory.members(address) or (address,))
        asked = envelope.options.get("recipients", {})
        targets: dict[int, Target] = {}
        problem = "no recipient has a mailbox here"
        for address in names:
            if corrupt_encapsulation(address):
                problem = f"corrupt encapsulated address {address}"
                if self._converter.build.is_fatal("corrupt encapsulated address"):
                    raise SeriousError(problem)
                continue
            try:
                mailbox = await self._directory.recipient(address)
            except NoSuchMailbox as error:
                problem = str(error)
                outcomes.append(dsn.Outcome(address, dsn.FAILED, "5.1.1", problem))
                continue
            quota = self._settings.mailbox_bytes_max
            if quota and mailbox.size + mailbox.size_pending + octets > quota:
                problem = f"mailbox {mailbox.name} is over its quota"
                outcomes.append(dsn.Outcome(address, dsn.FAILED, "5.2.2", problem))
                continue
            if address in asked:
                outcomes.append(dsn.Outcome(address, dsn.DELIVERED, "2.0.0"))
            targets[mailbox.inbox.folder_id] = Target(mailbox.inbox)
        if not targets:
            raise Rejected(problem)
        return list(targets.values())

    def _counted(self, recipients: Sequence[str]) -> Sequence[str]:
        """The recipients as they are counted: with their terminator, in a signed counter (KB Q272672)."""
        count = signed(len(recipients) + 1, self._converter.build.counter_bits("recipients")) - 1
        if count < 0:
            raise Unavailable("the recipients were not counted right")
        return recipients[:count]

    def _try_again_later(self, name: str) -> None:
        """The disk is full or failing, which is not the message's fault: it waits in `In` until that is over."""
        self._attempts.pop(name, None)
        self._delays[name] = seconds = min(2 * self._delays.get(name, RETRY_SECONDS_MIN / 2), RETRY_SECONDS_MAX)
        self._clock.call_later(seconds, lambda: self.queue.put(name))

    async def _try_again_or_give_up(self, name: str, reason: str) -> None:
        if self._attempts[name] < self._settings.conversion_attempts_max:
            self._suspects.add(name)
            self.queue.put(name)
        else:
            await self._give_up(name, reason)

    async def _give_up(self, name: str, reason: str) -> None:
        """To BAD, with the reason (event 4116)."""
        try:
            await self._spool.move(IN, name, BAD, reason)
        except (OSError, Unavailable):  # it stays in `In` and is tried again after the next start
            reason += " (and could not be moved to BAD: it stays in In)"
        self.bad_count += 1
        self._done(name)
        self._bus.publish(MessageBad(name, reason))

    def _done(self, name: str) -> None:
        self._octets -= self._sizes.pop(name, 0)
        self._attempts.pop(name, None)
        self._suspects.discard(name)
        self._delays.pop(name, None)
        self._carried.pop(name, None)
        self._held.let_go(name)
        self._settle()


def _all_failed(delivery: _Delivery, error: PortError) -> list[dsn.Outcome]:
    """The outcomes of a message that nobody got: where a recipient's own reason is not known, the common one."""
    failed = {outcome.address: outcome for outcome in delivery.outcomes if outcome.action == dsn.FAILED}
    status = "5.2.2" if isinstance(error, OverQuota) else "5.0.0"
    if delivery.envelope is not None:
        for address in delivery.envelope.recipients:
            failed.setdefault(address, dsn.Outcome(address, dsn.FAILED, status, str(error)))
    return list(failed.values())


def return_path(envelope: Envelope) -> bytes:
    """The field that final delivery prepends (RFC 5321 section 4.4)."""
    return b"Return-Path: <" + envelope.reverse_path.encode("utf-8", "replace") + b">\r\n"


class NotificationThread:
    """FDsWaitTask: waits for directory changes and has the conversion stage rebuild its copy (KB Q268357)."""

    def __init__(self, scheduler: Scheduler, bus: Bus, converter: Converter, directory: Directory) -> None:
        self._scheduler = scheduler
        self._bus = bus
        self._converter = converter
        self._directory = directory
        self.queue: WorkQueue[str] = WorkQueue(scheduler)
        self.rebuilt_count = 0
        bus.on(DirectoryChanged, self._changed)

    def _changed(self, event: DirectoryChanged) -> None:
        if len(self.queue) < 1000:  # one rebuild serves any number of changes
            self.queue.put(event.what)

    def start(self) -> Any:
        """Start the thread's actor."""
        self.queue.open()
        actor = Actor("notification")
        return self._scheduler.spawn(actor, self._work(actor))

    async def _work(self, actor: Actor) -> None:
        while True:
            try:
                actor.doing = f"rebuild after: {await self.queue.get()}"
            except QueueClosed:
                return
            await self._converter.notification(self._directory)
            self.rebuilt_count += 1
            actor.doing = ""
            if self._bus.wanted(SiteAddressingRebuilt):
                self._bus.publish(SiteAddressingRebuilt(self._converter.site_addressing.serial))
