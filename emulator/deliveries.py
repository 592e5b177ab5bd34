"""Deliveries: one message at a time from the inbound queue through conversion into mailboxes, to gateways, or to BAD.

`InboundMail` (queues.py) owns the queue and its workers, and calls `Deliveries.deliver` for each name that comes out.
With a data directory a worker does not wait for the commit of a message, so that many messages share a sync; what has
to wait after it (a report, a spool file to remove, a failure) is an actor of its own (`inbound-commit`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from protocols.actor import Actor, current_actor
from protocols.ports import Clock, NoSuchMailbox, OverQuota, PortError, Rejected, Target, Unavailable

from . import dsn
from .events import Bus, MessageBad, MessageDelivered
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
    from .folder import Message
    from .store import Store

RETRY_SECONDS_MIN = 0.25
RETRY_SECONDS_MAX = 30.0
"""A delivery that the store could not take is tried again after these, the pause doubling each time."""

COMMITS_MAX = 256
"""Messages that workers have converted and whose commits they do not wait for."""


class SeriousError(Unavailable):
    """The error of one message that stops the whole service (event 4182, KB Q193782); it stays in `In`."""


class TooOften(Exception):
    """Conversion of a message has ended the process, or was ended with it, as often as is allowed."""


Carry = Callable[[str, Sequence[str], bytes, Mapping[str, Any], set[str]], Awaitable[list[str]]]
"""(reverse-path, addresses, octets, options, addresses that gateways took) → the addresses that no gateway takes."""


@dataclass(slots=True, eq=False)
class Delivery:
    """A message from the moment it was accepted until it is in its mailboxes or in BAD."""

    name: str
    size: int
    """Octets."""
    attempts: int = 0
    """How often its conversion has begun, in earlier processes too where it is a suspect."""
    suspect: bool = False
    """Its attempts are noted in the spool: it failed before, or an earlier process left it."""
    retry_seconds: float = 0.0
    """The pause before the last attempt that the disk made necessary."""
    carried: set[str] = field(default_factory=set)
    """Addresses whose gateways have it, while something else keeps it in `In`."""
    envelope: Envelope | None = None
    """None until it was read, in each attempt."""
    octets: bytes = b""
    outcomes: list[dsn.Outcome] = field(default_factory=list)


class Queue(Protocol):
    """Where deliveries come from (`queues.InboundMail`)."""

    def again(self, delivery: Delivery) -> None:
        """It is to come out of the queue again."""
        ...

    def ended(self, delivery: Delivery) -> None:
        """It is out of our hands."""
        ...

    def stop_service(self, delivery: Delivery, text: str) -> None:
        """The error that the service is to be stopped for; the message waits for its next start."""
        ...


class Deliveries:
    """Takes messages in, and says what became of each."""

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
        held: HeldMail,
        queue: Queue,
    ) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._clock = clock
        self._bus = bus
        self._spool = spool
        self._store = store
        self._directory = directory
        self._converter = converter
        self._held = held
        self._queue = queue
        self._commits = 0
        """Messages that were converted and are on their way to the disk."""
        self._commit_waiters: list[Waiter] = []
        self.report: Callable[[Envelope, bytes, Sequence[dsn.Outcome]], Awaitable[None]] | None = None
        """Sends delivery status notifications; set where there is an outbound side."""
        self.carry: Carry | None = None
        """Takes a message for an address that belongs to a gateway (`mts.MessageTransferStub.carry`)."""
        self.threads: ThreadPool | None = None
        """Threads of the information store, one of which each delivery needs; None: as many as are asked for."""
        self.delivered_count = 0
        self.bad_count = 0

    async def deliver(self, delivery: Delivery) -> None:
        """One attempt; never raises. The message may be on its way to the disk when this returns: see `committed`."""

        async def read() -> tuple[Envelope, bytes]:
            return await self._read(delivery)

        async def resolve(envelope: Envelope) -> list[Target]:
            return await self._resolve(delivery, envelope)

        try:
            if self.threads is not None and self.threads.threads_max is not None:
                async with self._store_thread(self.threads):  # held until the commit
                    await self._append(delivery, *await self._converter.take_in(read, resolve, return_path))
                return
            content, targets = await self._converter.take_in(read, resolve, return_path)
            if self._spool.durable and self._commits < COMMITS_MAX:
                await self._hand_over(delivery, content, targets)
            else:
                await self._append(delivery, content, targets)
        except Exception as error:  # whatever a poison message does, the queue goes on (KB Q232279)
            await self._not_delivered(delivery, error)

    async def committed(self) -> None:
        """Wait until nothing is on its way to the disk any more."""
        while self._commits:
            waiter = self._scheduler.waiter()
            self._commit_waiters.append(waiter)
            await waiter

    async def _read(self, delivery: Delivery) -> tuple[Envelope, bytes]:
        name = delivery.name
        await self._begin(delivery)
        envelope, octets = self._held.read(name) or await self._spool.read(IN, name)
        delivery.envelope, delivery.octets = envelope, octets
        current_actor.get().doing = f"{name} from <{envelope.reverse_path}>"
        return envelope, octets

    async def _resolve(self, delivery: Delivery, envelope: Envelope) -> list[Target]:
        """The mailboxes it goes to. Raises Rejected, Unavailable."""
        if delivery.suspect:
            await self._spool.note_attempts(delivery.name, 0)
        here = envelope.recipients
        if self.carry is not None:
            here = await self._without_carried(delivery, envelope)
            if not here and envelope.recipients:
                return []  # all of it leaves by gateways
        octets = len(delivery.octets) + len(return_path(envelope))
        return await self._targets(here, envelope.options, delivery.outcomes, octets)

    async def _begin(self, delivery: Delivery) -> None:
        """Count an attempt, so that no message ends one process after the other for ever. Raises TooOften."""
        if delivery.attempts >= self._settings.conversion_attempts_max:
            raise TooOften(f"its conversion did not come to an end {delivery.attempts} times")
        delivery.attempts += 1
        if delivery.suspect:
            await self._spool.note_attempts(delivery.name, delivery.attempts)

    async def _hand_over(self, delivery: Delivery, content: Content, targets: Sequence[Target]) -> None:
        name = delivery.name
        await self._held.claim(name)

        def done(messages: Sequence[Message], error: Unavailable | None) -> None:
            if error is not None:
                self._in_background(delivery, self._not_delivered(delivery, error))
            elif delivery.outcomes or not self._held.holds(name):
                self._in_background(delivery, self._finish(delivery, messages))
            else:
                self._held.let_go(name)
                self._delivered(delivery, messages)
                self._committed()

        self._commits += 1
        try:
            self._converter.hand_over(content, targets, name, done, spool_file=not self._held.holds(name))
        except BaseException:
            self._committed()
            raise

    def _in_background(self, delivery: Delivery, rest: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await rest
            except Exception as error:
                await self._not_delivered(delivery, error)
            finally:
                self._committed()

        self._scheduler.spawn(Actor("inbound-commit", doing=delivery.name), run())

    def _committed(self) -> None:
        self._commits -= 1
        if not self._commits:
            waiters, self._commit_waiters = self._commit_waiters, []
            for waiter in waiters:
                waiter.wake()

    async def _append(self, delivery: Delivery, content: Content, targets: Sequence[Target]) -> None:
        name = delivery.name
        await self._held.claim(name)
        messages = await self._converter.append(content, targets, name, spool_file=not self._held.holds(name))
        await self._finish(delivery, messages)

    async def _finish(self, delivery: Delivery, messages: Sequence[Message]) -> None:
        was_held = self._held.let_go(delivery.name)
        await self._report(delivery, delivery.outcomes)
        if not was_held:
            await self._remove(delivery.name)
        self._delivered(delivery, messages)

    def _delivered(self, delivery: Delivery, messages: Sequence[Message]) -> None:
        self.delivered_count += 1
        self._done(delivery)
        if self._bus.wanted(MessageDelivered):
            folders = tuple(f"{m.folder.owner.name}/{m.folder.name}" for m in messages if m.folder.owner)
            self._bus.publish(MessageDelivered(delivery.name, folders, tuple(messages)))

    async def _not_delivered(self, delivery: Delivery, error: Exception) -> None:
        """The message is in `In` now, or its sender is told that it was not taken."""
        if isinstance(error, FileNotFoundError) or not await self._held.secure(delivery.name):
            self._done(delivery)
        elif isinstance(error, SeriousError):
            delivery.attempts = 0
            self._rest(delivery)
            text = f"a serious error in spool file {delivery.name}, which will be retried: {error}"
            self._queue.stop_service(delivery, text)
        elif isinstance(error, TooOften):
            await self._give_up(delivery, str(error))
        elif isinstance(error, Unavailable | OSError):
            self._try_again_later(delivery)
        elif isinstance(error, PortError):
            await self._report(delivery, _all_failed(delivery, error))
            await self._give_up(delivery, str(error))
        else:
            await self._try_again_or_give_up(delivery, f"conversion failed: {type(error).__name__}: {error}")

    async def _without_carried(self, delivery: Delivery, envelope: Envelope) -> tuple[str, ...]:
        """The recipients that no gateway takes; the others' gateways have the message now, once."""
        assert self.carry is not None
        addresses = [address for address in envelope.recipients if address not in delivery.carried]
        options, carried = envelope.options, delivery.carried
        return tuple(await self.carry(envelope.reverse_path, addresses, delivery.octets, options, carried))

    @contextlib.asynccontextmanager
    async def _store_thread(self, threads: ThreadPool) -> AsyncIterator[None]:
        """A thread of the information store. Raises SeriousError when it has none for too long (KB Q169686)."""
        try:
            await threads.take(self._settings.store_thread_seconds_max)
        except NoThread as error:
            raise SeriousError(f"error 0x80040115 talking to the information store (3039): {error}") from error
        try:
            yield
        finally:
            threads.give_back()

    async def _remove(self, name: str) -> None:
        """The message is delivered. Should removing its file fail, the store remembers the delivery."""
        with contextlib.suppress(OSError):
            await self._spool.remove(IN, name)
        for gone in self._spool.gone():
            await self._store.forget_spool_name(gone)

    async def _report(self, delivery: Delivery, outcomes: Sequence[dsn.Outcome]) -> None:
        """Tell the sender what it wants to know of its recipients (RFC 3461)."""
        if self.report is not None and delivery.envelope is not None and outcomes:
            await self.report(delivery.envelope, delivery.octets, outcomes)

    async def _targets(
        self, recipients: Sequence[str], options: Mapping[str, Any], outcomes: list[dsn.Outcome], octets: int
    ) -> list[Target]:
        """The mailboxes of the recipients, each once. Raises Rejected when there is none.

        A mailbox without room for so many `octets` is left out, so that it does not keep the message from the others.
        What becomes of each recipient is noted in `outcomes`; of success only where somebody asked.
        """
        names: list[str] = []
        for address in self._counted(recipients):
            names.extend(self._directory.members(address) or (address,))
        asked = options.get("recipients", {})
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
            quota = self._store.settings.mailbox_bytes_max
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

    def _try_again_later(self, delivery: Delivery) -> None:
        """The disk is full or failing, which is not the message's fault: it waits in `In` until that is over."""
        delivery.attempts = 0
        seconds = min(2 * delivery.retry_seconds, RETRY_SECONDS_MAX) or RETRY_SECONDS_MIN
        delivery.retry_seconds = seconds
        self._rest(delivery)
        self._clock.call_later(seconds, lambda: self._queue.again(delivery))

    async def _try_again_or_give_up(self, delivery: Delivery, reason: str) -> None:
        if delivery.attempts < self._settings.conversion_attempts_max:
            delivery.suspect = True
            self._rest(delivery)
            self._queue.again(delivery)
        else:
            await self._give_up(delivery, reason)

    @staticmethod
    def _rest(delivery: Delivery) -> None:
        """Between two attempts a message is on disk alone."""
        delivery.envelope, delivery.octets, delivery.outcomes = None, b"", []

    async def _give_up(self, delivery: Delivery, reason: str) -> None:
        """To BAD, with the reason (event 4116)."""
        try:
            await self._spool.move(IN, delivery.name, BAD, reason)
        except (OSError, Unavailable):  # it stays in `In` and is tried again after the next start
            reason += " (and could not be moved to BAD: it stays in In)"
        self.bad_count += 1
        self._done(delivery)
        self._bus.publish(MessageBad(delivery.name, reason))

    def _done(self, delivery: Delivery) -> None:
        self._held.let_go(delivery.name)
        self._queue.ended(delivery)


def _all_failed(delivery: Delivery, error: PortError) -> list[dsn.Outcome]:
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
