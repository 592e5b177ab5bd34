"""MTS-IN and MTS-OUT: the folders through which gateways (EDK connectors) exchange messages with the store.

A connector puts what it brings into MTS-IN and takes what it shall carry away from MTS-OUT (KB Q234065, Q215492). Each
connector has one actor for either direction, and both convert through IMAIL, so that a connector holds its place in the
queues and in a jam. A connector that raises, blocks or dies harms only itself: its methods run in threads of their own
(`loop_thread.py`), and what it does not take is tried again with pauses that double, then returned to the sender.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from protocols.actor import Actor
from protocols.ports import Clock, Handle, NoSuchMailbox, PortError, Target, Unavailable

from . import dsn
from .loop_thread import LoopThread
from .queues import QueueClosed, WorkQueue
from .scheduling import AsyncioClock, Scheduler, Waiter, retry_pause
from .spool import BAD, MTS_IN, MTS_OUT, Envelope, MemorySpool, Spool
from .thread_pool import ThreadPool

if TYPE_CHECKING:
    from .config import Settings
    from .converter import Converter
    from .directory import Directory
    from .store import Store


_GATEWAY = "gateway"
"""Option of an envelope in MTS-OUT: whose it is."""


class Refused(Exception):
    """A connector raises it for a message that the other system will never take: it is not tried again."""


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """A message between a connector and the store."""

    reverse_path: str
    recipients: tuple[str, ...]
    octets: bytes = b""
    spool_name: str = ""
    """Where its octets are in MTS-OUT, while it waits there."""
    attempts: int = 0
    """How often it failed, since the process began."""
    arrived_at: float = 0.0
    """When it came into MTS-IN; seconds since the epoch."""
    brought_as: str = ""
    """Its name in MTS-IN; empty where it is in memory alone."""


class Connector(Protocol):
    """What carries messages to and from another mail system.

    Its methods are called in threads of its own, `deliver` with a loop of its own: what belongs to the server's loop
    has to be told by `call_soon_threadsafe`. Where a class says `takes_at_once = True`, its `takes` looks at nothing
    but the address, and is called on the server's loop.
    """

    name: str

    def takes(self, address: str) -> bool:
        """Whether mail for this address leaves by this connector. One that does not answer in time takes nothing."""
        ...

    def deliver(self, transfer: Transfer, properties: Any) -> Awaitable[None] | None:
        """Carry a message away, for all its recipients or none; a function or a coroutine.

        Raises Refused for what will never be taken. After anything else that it raises it is tried again.
        """
        ...


@dataclass(slots=True)
class Gateway:
    """A connector that is logged on: its two queues and its counters."""

    connector: Connector
    mts_in: WorkQueue[Transfer]
    mts_out: WorkQueue[Transfer]
    entered: int = 0
    delivered: int = 0
    carried: int = 0
    failures: list[str] = field(default_factory=list)
    """Reasons of what went wrong, at most 100."""
    unsettled: int = 0
    """Messages brought and not yet delivered or failed."""
    waiters: list[Waiter] = field(default_factory=list)
    scheduler: Scheduler | None = None
    closers: list[Callable[[], None]] = field(default_factory=list)
    """Called when the gateway logs off: its listeners are closed by them."""
    spool_names: set[str] = field(default_factory=set)
    """What is in MTS-OUT: queued, waiting for its next attempt, or with the connector."""
    waiting: dict[Transfer, Handle] = field(default_factory=dict)
    """What waits for its next attempt, in either direction."""
    recovered: set[str] | None = None
    """What was found in MTS-IN at logon; None: that is still looked for."""
    recovering: list[Waiter] = field(default_factory=list)
    """Who waits for that."""
    carrying: LoopThread | None = None
    """Where `deliver` runs; None: on the loop of whoever calls."""
    answering: LoopThread | None = None
    """Where `takes` runs; None: on the loop of whoever calls."""

    def queue(self, transfer: Transfer) -> None:
        """Into MTS-OUT, unless it is there already."""
        if transfer.spool_name not in self.spool_names:
            self.spool_names.add(transfer.spool_name)
            self.mts_out.put(transfer)

    def takes(self, address: str, seconds_max: float) -> bool:
        """What the connector says. Raises whatever it raises, and Silent."""
        if self.answering is None:
            return self.connector.takes(address)
        return bool(self.answering.ask(partial(self.connector.takes, address), seconds_max))

    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        """Hand a message to the connector. Raises whatever it raises."""
        call = partial(self.connector.deliver, transfer, properties)
        if self.carrying is not None:
            await self.carrying.run(call)
        elif (awaitable := call()) is not None:
            await awaitable

    def log_off(self) -> None:
        """Take nothing more from the queues; what the connector has it may finish."""
        self.mts_in.close()
        self.mts_out.close()
        for timer in self.waiting.values():
            timer.cancel()
        self.waiting.clear()
        for thread in (self.carrying, self.answering):
            if thread is not None:
                thread.finish()
        for close in self.closers:
            close()

    async def settled(self) -> None:
        """Wait until everything that the connector brought is delivered or has failed."""
        if self.unsettled and self.scheduler is not None:
            waiter = self.scheduler.waiter()
            self.waiters.append(waiter)
            await waiter

    def settle(self) -> None:
        """One message less."""
        self.unsettled -= 1
        if not self.unsettled:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                waiter.wake()


class MessageTransferStub:
    """The part of the MTA that moves messages between the store and gateways."""

    def __init__(
        self,
        settings: Settings,
        scheduler: Scheduler,
        directory: Directory,
        converter: Converter,
        threads: ThreadPool | None = None,
        spool: Spool | None = None,
        clock: Clock | None = None,
        store: Store | None = None,
    ) -> None:
        """`threads`: each gateway's thread comes from there, and a second one for each transfer (KB Q282115).

        `spool`: where MTS-IN and MTS-OUT are kept; without one they are in memory. `clock`: of attempts; real time
        without one. `store`: remembers what was delivered of a spool that outlasts the process.
        """
        self._clock: Clock = clock or AsyncioClock()
        self.report: Callable[[Envelope, bytes, Sequence[dsn.Outcome]], Awaitable[None]] | None = None
        """Sends delivery status notifications; set where there is an outbound side."""
        self._spool = spool or MemorySpool()
        self._store = store
        self._delivering: set[str] = set()
        """Names in MTS-IN of what is being delivered, by gateways that have logged off too."""
        self._removed: list[str] = []
        """Names removed from MTS-IN, which might be there again after a power failure."""
        self._threads = threads or ThreadPool("gateways", scheduler)
        self._settings = settings
        self._scheduler = scheduler
        self._directory = directory
        self._converter = converter
        self.gateways: dict[str, Gateway] = {}
        directory.elsewhere = lambda address: self.route(address) is not None

    def log_on(self, connector: Connector) -> Gateway:
        """Start the threads of a gateway (KB Q234065). Raises ValueError when the name is taken."""
        if connector.name in self.gateways:
            raise ValueError(f"a gateway named {connector.name} is logged on already")
        gateway = Gateway(connector, WorkQueue(self._scheduler), WorkQueue(self._scheduler), scheduler=self._scheduler)
        gateway.carrying = LoopThread(f"mailjam-gateway-{connector.name}")
        if not getattr(connector, "takes_at_once", False):
            gateway.answering = LoopThread(f"mailjam-gateway-{connector.name}-takes")
        self.gateways[connector.name] = gateway
        for direction, work in (("in", self._work_in), ("out", self._work_out)):
            actor = Actor("gateway", user=connector.name, doing=direction)
            self._scheduler.spawn(actor, work(actor, gateway))
        return gateway

    def log_off(self, name: str) -> None:
        """End the threads of a gateway. What is in MTS-OUT waits for a gateway of the same name to log on again."""
        self.gateways.pop(name).log_off()

    def close(self) -> None:
        """Let all gateways' threads go home after what they are doing."""
        for name in tuple(self.gateways):
            self.log_off(name)

    def submit(self, name: str, reverse_path: str, recipients: Sequence[str], octets: bytes) -> None:
        """A connector brings a message: into MTS-IN, in memory. Raises Unavailable at the queue's limit."""
        gateway = self._with_room(name)
        self._enter(gateway, Transfer(reverse_path, tuple(recipients), octets, arrived_at=self._clock.time()))

    async def bring(self, name: str, reverse_path: str, recipients: Sequence[str], octets: bytes) -> None:
        """As `submit`; when it returns the message is in the spool, and is delivered even if the process is killed now.

        Raises KeyError where no such gateway is logged on, Unavailable at the queue's limit or when the spool fails.
        """
        if not self._spool.durable:
            self.submit(name, reverse_path, recipients, octets)
            return
        gateway = self._with_room(name)
        if gateway.recovered is None:
            waiter = self._scheduler.waiter()
            gateway.recovering.append(waiter)
            await waiter
        envelope = Envelope(reverse_path, tuple(recipients), self._clock.time(), {_GATEWAY: name})
        removed, self._removed = self._removed, []
        try:
            spool_name = await self._spool.write(MTS_IN, envelope, octets)
        except Unavailable:
            self._removed += removed
            raise
        for gone in removed:  # the folder was synced, and with it that these are gone
            await self._forget(gone)
        now = self.gateways.get(name)
        if now is gateway or (now is not None and now.recovered is not None and spool_name not in now.recovered):
            self._enter(now, _brought(envelope, octets, spool_name))

    def _with_room(self, name: str) -> Gateway:
        gateway = self.gateways[name]
        if len(gateway.mts_in) >= self._settings.inbound_queue_messages_max:
            raise Unavailable("MTS-IN is full")
        return gateway

    @staticmethod
    def _enter(gateway: Gateway, transfer: Transfer) -> None:
        gateway.entered += 1
        gateway.unsettled += 1
        gateway.mts_in.put(transfer)

    async def _forget(self, spool_name: str) -> None:
        if self._store is not None:
            await self._store.forget_spool_name(spool_name)

    def route(self, address: str) -> Gateway | None:
        """The gateway by which mail for the address leaves, or None."""
        for gateway in self.gateways.values():
            try:
                if gateway.takes(address, self._settings.gateway_answer_seconds_max):
                    return gateway
            except Exception as error:  # whatever a connector raises is its own affair
                _note(gateway, f"takes: {error}")
        return None

    async def carry(
        self,
        reverse_path: str,
        addresses: Sequence[str],
        octets: bytes,
        options: Mapping[str, Any] | None = None,
        carried: set[str] | None = None,
    ) -> list[str]:
        """Put a message into the MTS-OUT of the gateways of its recipients, once for each; the addresses left over.

        When this returns the message is in the spool: it leaves even if the process is killed now, twice if it is
        killed while the connector has it. Raises Unavailable at the queue's limit, or when the spool fails; `carried`
        has the addresses added of which a gateway has the message all the same.
        """
        left: list[str] = []
        leaving: dict[str, list[str]] = {}
        for address in addresses:
            gateway = self.route(address)
            if gateway is None:
                left.append(address)
            else:
                leaving.setdefault(gateway.connector.name, []).append(address)
        for name, recipients in leaving.items():
            gateway = self.gateways.get(name)
            if gateway is None or len(gateway.spool_names) >= self._settings.outbound_queue_messages_max:
                raise Unavailable("MTS-OUT is full" if gateway is not None else f"gateway {name} has logged off")
            whole = {**(options or {}), _GATEWAY: name}
            envelope = Envelope(reverse_path, tuple(recipients), self._clock.time(), whole)
            spool_name = await self._spool.write(MTS_OUT, envelope, octets)
            gateway.queue(Transfer(reverse_path, envelope.recipients, spool_name=spool_name))
            if carried is not None:
                carried.update(recipients)
        return left

    async def _recover(self, gateway: Gateway) -> None:
        """Queue what is in MTS-OUT for this gateway, from an earlier process or an earlier logon."""
        for name, _ in await self._spool.names(MTS_OUT):
            try:
                envelope = await self._spool.envelope(MTS_OUT, name)
            except (ValueError, FileNotFoundError):
                continue  # `mailjam check` tells of it
            if envelope.options.get(_GATEWAY) == gateway.connector.name:
                gateway.queue(Transfer(envelope.reverse_path, envelope.recipients, spool_name=name))

    async def _recover_brought(self, gateway: Gateway) -> None:
        """Queue what is in MTS-IN of this gateway, from an earlier process or an earlier logon."""
        found: dict[str, Transfer] = {}
        names = await self._spool.names(MTS_IN) if self._spool.durable else []
        for name, _ in names:
            if self._store is not None and name in self._store.spool_done:
                await self._spool.remove(MTS_IN, name)
                self._removed.append(name)
                continue
            try:
                envelope, octets = await self._spool.read(MTS_IN, name)
            except (ValueError, FileNotFoundError):
                continue  # `mailjam check` tells of it
            if envelope.options.get(_GATEWAY) == gateway.connector.name and name not in self._delivering:
                found[name] = _brought(envelope, octets, name)
        gateway.recovered = set(found)
        for transfer in found.values():
            self._enter(gateway, transfer)

    async def _work_in(self, actor: Actor, gateway: Gateway) -> None:
        try:
            await self._recover_brought(gateway)
        except (OSError, Unavailable) as error:
            _note(gateway, f"in: what is in MTS-IN cannot be read: {error}")
        gateway.recovered = gateway.recovered or set()
        waiters, gateway.recovering = gateway.recovering, []
        for waiter in waiters:
            waiter.wake()
        async with self._threads.thread():
            await self._bring(actor, gateway)

    async def _bring(self, actor: Actor, gateway: Gateway) -> None:
        while True:
            try:
                transfer = await gateway.mts_in.get()
            except QueueClosed:
                return
            actor.doing = f"in from <{transfer.reverse_path}>"
            if transfer.brought_as:
                self._delivering.add(transfer.brought_as)
            try:
                async with self._threads.thread():
                    here = await self._passed_on(gateway, transfer)
                    targets = [Target(mailbox.inbox) for mailbox in await self._mailboxes(here)]
                    if targets:
                        await self._converter.put(transfer.octets, targets, transfer.brought_as or None)
                gateway.delivered += 1
                await self._done(gateway, transfer)
            except Exception as error:  # a connector's bad message harms only the connector
                _note(gateway, f"in: {error}")
                if isinstance(error, Unavailable) and self._tries_again(gateway, transfer, transfer.arrived_at):
                    continue
                await self._not_delivered(gateway, transfer, error)
            finally:
                self._delivering.discard(transfer.brought_as)
            gateway.settle()
            actor.doing = "in"

    async def _done(self, gateway: Gateway, transfer: Transfer) -> None:
        """It leaves MTS-IN."""
        if not transfer.brought_as:
            return
        try:
            await self._spool.remove(MTS_IN, transfer.brought_as)
            self._removed.append(transfer.brought_as)
        except OSError as error:  # it stays there, and the store knows that it was delivered
            _note(gateway, f"in: {transfer.brought_as} cannot be removed from MTS-IN: {error}")

    async def _not_delivered(self, gateway: Gateway, transfer: Transfer, error: Exception) -> None:
        """What the store did not take goes to BAD, and its sender is told."""
        reason = f"gateway {gateway.connector.name}: {error}"
        envelope = Envelope(transfer.reverse_path, transfer.recipients, self._clock.time(), reason=reason)
        try:
            await self._spool.write(BAD, envelope, transfer.octets)
            await self._done(gateway, transfer)
        except Unavailable as problem:
            where = f"{transfer.brought_as} stays in MTS-IN" if transfer.brought_as else "a message is lost"
            _note(gateway, f"in: {where}: {problem}")
        permanent = isinstance(error, PortError) and not isinstance(error, Unavailable)
        await self._tell(gateway, envelope, transfer.octets, "5.1.1" if permanent else "4.3.0", str(error))

    async def _passed_on(self, gateway: Gateway, transfer: Transfer) -> list[str]:
        """The recipients whose mailboxes are here; for the others the message goes on to another gateway."""
        if not transfer.recipients:
            raise NoSuchMailbox("no recipients")
        for address in transfer.recipients:
            if self.route(address) is gateway:
                raise NoSuchMailbox(f"{address} is where this message came from")
        return await self.carry(transfer.reverse_path, transfer.recipients, transfer.octets)

    async def _mailboxes(self, recipients: Sequence[str]) -> list[Any]:
        found = [await self._directory.recipient(address) for address in recipients]
        return list({mailbox.name: mailbox for mailbox in found}.values())

    async def _work_out(self, actor: Actor, gateway: Gateway) -> None:
        async with self._threads.thread():
            await self._carry_away(actor, gateway)

    async def _carry_away(self, actor: Actor, gateway: Gateway) -> None:
        try:
            await self._recover(gateway)
        except (OSError, Unavailable) as error:
            _note(gateway, f"out: what is in MTS-OUT cannot be read: {error}")
        while True:
            try:
                transfer = await gateway.mts_out.get()
            except QueueClosed:
                return
            actor.doing = f"out to {', '.join(transfer.recipients[:3])}"
            try:
                async with self._threads.thread():
                    await self._hand_over(gateway, transfer)
                gateway.carried += 1
            except Exception as error:  # whatever a connector raises is its own affair
                _note(gateway, f"out: {error}")
                try:
                    await self._not_carried(gateway, transfer, error)
                except (OSError, KeyError, Unavailable) as problem:
                    _note(gateway, f"out: {transfer.spool_name} stays in MTS-OUT: {problem}")
                    gateway.spool_names.discard(transfer.spool_name)
            actor.doing = "out"

    async def _hand_over(self, gateway: Gateway, transfer: Transfer) -> None:
        name = transfer.spool_name
        if name:
            _, octets = await self._spool.read(MTS_OUT, name)
            transfer = replace(transfer, octets=octets)
        await self._converter.gateway_outbound(transfer.octets, partial(gateway.deliver, transfer))
        if name:
            await self._spool.remove(MTS_OUT, name)
            gateway.spool_names.discard(name)

    async def _not_carried(self, gateway: Gateway, transfer: Transfer, error: Exception) -> None:
        """Another attempt after a pause that doubles each time; in the end BAD, and a report to the sender."""
        name = transfer.spool_name
        if not name:
            return
        reason = f"gateway {gateway.connector.name}: {error}"
        try:
            envelope, octets = await self._spool.read(MTS_OUT, name)
        except FileNotFoundError:
            gateway.spool_names.discard(name)
            return
        except ValueError:  # a damaged file
            await self._spool.move(MTS_OUT, name, BAD, reason)
            gateway.spool_names.discard(name)
            return
        refused = isinstance(error, Refused)
        if not refused and self._tries_again(gateway, transfer, envelope.received_at):
            return
        await self._tell(gateway, envelope, octets, "5.0.0" if refused else "4.4.7", str(error))
        await self._spool.move(MTS_OUT, name, BAD, reason)
        gateway.spool_names.discard(name)

    def _tries_again(self, gateway: Gateway, transfer: Transfer, arrived_at: float) -> bool:
        """Whether there will be another attempt; it is arranged."""
        settings = self._settings
        if self._clock.time() - arrived_at >= settings.gateway_expire_seconds:
            return False
        if self.gateways.get(gateway.connector.name) is not gateway:
            return bool(transfer.spool_name or transfer.brought_as)  # who logs on next finds it in the spool
        queue = gateway.mts_out if transfer.spool_name else gateway.mts_in

        def again() -> None:
            gateway.waiting.pop(transfer, None)
            queue.put(replace(transfer, attempts=transfer.attempts + 1))

        seconds = retry_pause(transfer.attempts, settings.gateway_retry_seconds_min, settings.gateway_retry_seconds_max)
        gateway.waiting[transfer] = self._clock.call_later(seconds, again)
        return True

    async def _tell(self, gateway: Gateway, envelope: Envelope, octets: bytes, status: str, text: str) -> None:
        """A report to the sender that a message has failed."""
        if self.report is None:
            return
        outcomes = [dsn.Outcome(address, dsn.FAILED, status, text) for address in envelope.recipients]
        try:
            await self.report(envelope, octets, outcomes)
        except Exception as error:  # the message is kept in BAD all the same
            _note(gateway, f"no report could be sent: {error}")

    def queue_lengths(self) -> tuple[int, int]:
        """(MTS-IN, MTS-OUT) of all gateways together."""
        gateways = self.gateways.values()
        pausing = [transfer for gateway in gateways for transfer in gateway.waiting]
        leaving = sum(1 for transfer in pausing if transfer.spool_name)
        return (
            sum(len(gateway.mts_in) for gateway in gateways) + len(pausing) - leaving,
            sum(len(gateway.mts_out) for gateway in gateways) + leaving,
        )


def _brought(envelope: Envelope, octets: bytes, spool_name: str) -> Transfer:
    return Transfer(
        envelope.reverse_path, envelope.recipients, octets, arrived_at=envelope.received_at, brought_as=spool_name
    )


def _note(gateway: Gateway, failure: str) -> None:
    if len(gateway.failures) < 100:
        gateway.failures.append(failure)
