"""The queues of the Internet Mail Service and their workers (KB Q156063 section 3.2.11).

*Inbound awaiting conversion* (files in `In`), *inbound awaiting delivery* (MTS-IN), *outbound awaiting conversion*
(MTS-OUT) and *outbound awaiting delivery* (`Out`). This file has the inbound queue (`protocols.ports.Submission`),
whose messages `deliveries.py` takes in, and the directory-notification thread; `outbound.py` has the other side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from protocols.actor import Actor
from protocols.ports import Clock, Unavailable

from .deliveries import Deliveries, Delivery
from .events import Bus, DirectoryChanged, MessageAccepted, SiteAddressingRebuilt
from .held import HeldMail
from .pace import Pace
from .scheduling import Scheduler, Waiter
from .spool import IN, Envelope, Spool

if TYPE_CHECKING:
    from .config import Settings
    from .converter import Converter
    from .directory import Directory
    from .store import Store

T = TypeVar("T")


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
        self.queue: WorkQueue[str] = WorkQueue(scheduler)
        self._held = HeldMail(scheduler, clock, spool, settings.spool_after_seconds)
        self.deliveries = Deliveries(
            settings, scheduler, clock, bus, spool, store, directory, converter, self._held, self
        )
        self._waiting: dict[str, Delivery] = {}
        """Messages in the queue or in conversion, by name."""
        self._octets = 0
        """Octets of all messages that await conversion, or are being written to `In`."""
        self._unsettled = 0
        self._settled_waiters: list[Waiter] = []
        self._pace = Pace(scheduler, clock, settings.inbound_queue_messages_max)
        self.workers: list[Any] = []
        self.failed: Callable[[str], None] = lambda text: None
        """Called with the error that the service is to be stopped for."""
        self.accepted_count = 0

    @property
    def delivered_count(self) -> int:
        """Messages that went into mailboxes or to gateways."""
        return self.deliveries.delivered_count

    @property
    def bad_count(self) -> int:
        """Messages that went to BAD."""
        return self.deliveries.bad_count

    # --- protocols.ports.Submission -----------------------------------------------------------------------------------

    @property
    def extensions(self) -> frozenset[str]:
        """What of SMTP is honoured behind the front-end; `outbound.InternetMail` can do more."""
        return frozenset()

    async def start_queue(self, node: str) -> int:
        """Nothing is held for anybody."""
        return 0

    async def submit(self, reverse_path: str, recipients: Sequence[str], octets: bytes, options: Any = None) -> str:
        """Queue the message, and return once it is in `In` or in its mailboxes. Waits for workers that lag behind.

        Raises Unavailable at the queue's limit or when the disk fails.
        """
        await self._pace.keep(self._unsettled)
        size = len(octets)
        self._check_room(size)
        self._admit(size)
        envelope = Envelope(reverse_path, tuple(recipients), self._clock.time(), dict(options or {}))
        if self._held.takes(self._unsettled):
            name = self._held.take(envelope, octets)
            self._accept(name, envelope, size)
            await self._held.safe(name)
        else:
            try:
                name = await self._spool.write(IN, envelope, octets)
            except BaseException:
                self._settle(size)
                raise
            self._accept(name, envelope, size)
        self.accepted_count += 1
        return name

    def _accept(self, name: str, envelope: Envelope, size: int) -> None:
        self._enqueue(Delivery(name, size))
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

    def _admit(self, size: int) -> None:
        self._unsettled += 1
        self._octets += size

    def _enqueue(self, delivery: Delivery) -> None:
        self._waiting[delivery.name] = delivery
        self.queue.put(delivery.name)

    def _settle(self, size: int) -> None:
        self._unsettled -= 1
        self._octets -= size
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
            if name in self._waiting:  # it stayed in the queue while the service was stopped
                continue
            self._admit(size)
            self._enqueue(Delivery(name, size, self._spool.attempts(name), suspect=True))
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
        self._waiting.clear()
        self._octets = self._unsettled = 0

    # --- deliveries.Queue ---------------------------------------------------------------------------------------------

    def again(self, delivery: Delivery) -> None:
        """It is to come out of the queue again."""
        if self._waiting.get(delivery.name) is delivery:  # else the process has ended meanwhile
            self.queue.put(delivery.name)

    def ended(self, delivery: Delivery) -> None:
        """It is out of our hands."""
        if self._waiting.pop(delivery.name, None) is not None:
            self._settle(delivery.size)
            self._pace.moved(self._unsettled)

    def stop_service(self, delivery: Delivery, text: str) -> None:
        """The error that the service is to be stopped for; the message waits for its next start."""
        self.queue.close()
        self.queue.put(delivery.name)
        self.failed(text)

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
            await self.deliveries.deliver(self._waiting[name])
            actor.doing = ""
        await self.deliveries.committed()


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
