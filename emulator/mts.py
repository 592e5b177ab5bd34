"""MTS-IN and MTS-OUT: the folders through which gateways (EDK connectors) exchange messages with the store.

A connector puts what it brings into MTS-IN and takes what it shall carry away from MTS-OUT (KB Q234065, Q215492). Each
connector has one actor for either direction, and both convert through IMAIL, so that a connector holds its place in the
queues and in a jam. A connector that raises or blocks harms only itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from protocols.actor import Actor
from protocols.ports import NoSuchMailbox, Target, Unavailable

from .queues import QueueClosed, WorkQueue
from .scheduling import Scheduler, Waiter
from .spool import BAD, MTS_OUT, Envelope, MemorySpool, Spool
from .thread_pool import ThreadPool

if TYPE_CHECKING:
    from .config import Settings
    from .converter import Converter
    from .directory import Directory


_GATEWAY = "gateway"
"""Option of an envelope in MTS-OUT: whose it is."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A message between a connector and the store."""

    reverse_path: str
    recipients: tuple[str, ...]
    octets: bytes = b""
    spool_name: str = ""
    """Where its octets are in MTS-OUT, while it waits there."""


class Connector(Protocol):
    """What carries messages to and from another mail system."""

    name: str

    def takes(self, address: str) -> bool:
        """Whether mail for this address leaves by this connector."""
        ...

    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        """Carry a message away. Whatever it raises is counted and the message goes to BAD."""
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
    """What waits in MTS-OUT and has been queued."""

    def queue(self, transfer: Transfer) -> None:
        """Into MTS-OUT, unless it is there already."""
        if transfer.spool_name not in self.spool_names:
            self.spool_names.add(transfer.spool_name)
            self.mts_out.put(transfer)

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
    ) -> None:
        """`threads`: each gateway's thread comes from there, and a second one for each transfer (KB Q282115).

        `spool`: where MTS-OUT is kept; without one it is in memory.
        """
        self._spool = spool or MemorySpool()
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
        self.gateways[connector.name] = gateway
        for direction, work in (("in", self._work_in), ("out", self._work_out)):
            actor = Actor("gateway", user=connector.name, doing=direction)
            self._scheduler.spawn(actor, work(actor, gateway))
        return gateway

    def log_off(self, name: str) -> None:
        """End the threads of a gateway. What is in MTS-OUT waits for a gateway of the same name to log on again."""
        gateway = self.gateways.pop(name)
        gateway.mts_in.close()
        gateway.mts_out.close()
        for close in gateway.closers:
            close()

    def close(self) -> None:
        """Let all gateways' threads go home after what they are doing."""
        for name in tuple(self.gateways):
            self.log_off(name)

    def submit(self, name: str, reverse_path: str, recipients: Sequence[str], octets: bytes) -> None:
        """A connector brings a message: into MTS-IN. Raises Unavailable at the queue's limit."""
        gateway = self.gateways[name]
        if len(gateway.mts_in) >= self._settings.inbound_queue_messages_max:
            raise Unavailable("MTS-IN is full")
        gateway.entered += 1
        gateway.unsettled += 1
        gateway.mts_in.put(Transfer(reverse_path, tuple(recipients), octets))

    def route(self, address: str) -> Gateway | None:
        """The gateway by which mail for the address leaves, or None."""
        for gateway in self.gateways.values():
            try:
                if gateway.connector.takes(address):
                    return gateway
            except Exception as error:  # whatever a connector raises is its own affair
                _note(gateway, f"takes: {error}")
        return None

    async def carry(self, reverse_path: str, address: str, octets: bytes) -> bool:
        """Put a message for one recipient into the MTS-OUT of its gateway; False where no gateway takes the address.

        When this returns the message is in the spool: it leaves even if the process is killed now, twice if it is
        killed while the connector has it. Raises Unavailable at the queue's limit, or when the spool fails.
        """
        gateway = self.route(address)
        if gateway is None:
            return False
        if len(gateway.mts_out) >= self._settings.outbound_queue_messages_max:
            raise Unavailable("MTS-OUT is full")
        envelope = Envelope(reverse_path, (address,), options={_GATEWAY: gateway.connector.name})
        name = await self._spool.write(MTS_OUT, envelope, octets)
        gateway.queue(Transfer(reverse_path, (address,), spool_name=name))
        return True

    async def _recover(self, gateway: Gateway) -> None:
        """Queue what is in MTS-OUT for this gateway, from an earlier process or an earlier logon."""
        for name, _ in await self._spool.names(MTS_OUT):
            try:
                envelope, _ = await self._spool.read(MTS_OUT, name)
            except (ValueError, FileNotFoundError):
                continue  # `mailjam check` tells of it
            if envelope.options.get(_GATEWAY) == gateway.connector.name:
                gateway.queue(Transfer(envelope.reverse_path, envelope.recipients, spool_name=name))

    async def _work_in(self, actor: Actor, gateway: Gateway) -> None:
        async with self._threads.thread():
            await self._bring(actor, gateway)

    async def _bring(self, actor: Actor, gateway: Gateway) -> None:
        while True:
            try:
                transfer = await gateway.mts_in.get()
            except QueueClosed:
                return
            actor.doing = f"in from <{transfer.reverse_path}>"
            try:
                async with self._threads.thread():
                    here = await self._passed_on(gateway, transfer)
                    targets = [Target(mailbox.inbox) for mailbox in await self._mailboxes(here)]
                    if targets:
                        await self._converter.put(transfer.octets, targets)
                gateway.delivered += 1
            except Exception as error:  # a connector's bad message harms only the connector
                _note(gateway, f"in: {error}")
            gateway.settle()
            actor.doing = "in"

    async def _passed_on(self, gateway: Gateway, transfer: Transfer) -> list[str]:
        """The recipients whose mailboxes are here; for the others the message goes on to another gateway."""
        if not transfer.recipients:
            raise NoSuchMailbox("no recipients")
        here: list[str] = []
        for address in transfer.recipients:
            if self.route(address) is gateway:
                raise NoSuchMailbox(f"{address} is where this message came from")
            if not await self.carry(transfer.reverse_path, address, transfer.octets):
                here.append(address)
        return here

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
            except (Exception, SystemExit) as error:  # whatever a connector raises is its own affair
                _note(gateway, f"out: {error}")
                await self._give_up(gateway, transfer, f"gateway {gateway.connector.name}: {error}")
            actor.doing = "out"

    async def _hand_over(self, gateway: Gateway, transfer: Transfer) -> None:
        name = transfer.spool_name
        if name:
            _, octets = await self._spool.read(MTS_OUT, name)
            transfer = replace(transfer, octets=octets)
        await self._converter.gateway_outbound(transfer.octets, partial(gateway.connector.deliver, transfer))
        if name:
            await self._spool.remove(MTS_OUT, name)
            gateway.spool_names.discard(name)

    async def _give_up(self, gateway: Gateway, transfer: Transfer, reason: str) -> None:
        """The message goes to BAD with its reason; where even that fails it stays in MTS-OUT for the next logon."""
        if not transfer.spool_name:
            return
        try:
            await self._spool.move(MTS_OUT, transfer.spool_name, BAD, reason)
        except (OSError, KeyError, Unavailable) as error:
            _note(gateway, f"out: {transfer.spool_name} stays in MTS-OUT: {error}")
        gateway.spool_names.discard(transfer.spool_name)

    def queue_lengths(self) -> tuple[int, int]:
        """(MTS-IN, MTS-OUT) of all gateways together."""
        return (
            sum(len(gateway.mts_in) for gateway in self.gateways.values()),
            sum(len(gateway.mts_out) for gateway in self.gateways.values()),
        )


def _note(gateway: Gateway, failure: str) -> None:
    if len(gateway.failures) < 100:
        gateway.failures.append(failure)
