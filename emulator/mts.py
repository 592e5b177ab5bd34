"""MTS-IN and MTS-OUT: the folders through which gateways (EDK connectors) exchange messages with the store.

A connector puts what it brings into MTS-IN and takes what it shall carry away from MTS-OUT (KB Q234065, Q215492). Each
connector has one actor for either direction, and both convert through IMAIL, so that a connector holds its place in the
queues and in a jam. A connector that raises or blocks harms only itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from protocols.actor import Actor
from protocols.ports import NoSuchMailbox, Target, Unavailable

from .queues import QueueClosed, WorkQueue
from .scheduling import Scheduler, Waiter
from .thread_pool import ThreadPool

if TYPE_CHECKING:
    from .config import Settings
    from .converter import Converter
    from .directory import Directory


@dataclass(frozen=True, slots=True)
class Transfer:
    """A message between a connector and the store."""

    reverse_path: str
    recipients: tuple[str, ...]
    octets: bytes


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
    ) -> None:
        """`threads`: each gateway's thread comes from there, and a second one for each transfer (KB Q282115)."""
        self._threads = threads or ThreadPool("gateways", scheduler)
        self._settings = settings
        self._scheduler = scheduler
        self._directory = directory
        self._converter = converter
        self.gateways: dict[str, Gateway] = {}

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
        """End the threads of a gateway; what is in its queues stays with them."""
        gateway = self.gateways.pop(name)
        gateway.mts_in.close()
        gateway.mts_out.close()

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
            if gateway.connector.takes(address):
                return gateway
        return None

    def carry(self, reverse_path: str, address: str, octets: bytes) -> bool:
        """Put a message for one recipient into the MTS-OUT of its gateway; False where no gateway takes the address.

        MTS-OUT is in memory: what a connector has not taken when the process is killed is not carried.
        Raises Unavailable at the queue's limit.
        """
        gateway = self.route(address)
        if gateway is None:
            return False
        if len(gateway.mts_out) >= self._settings.outbound_queue_messages_max:
            raise Unavailable("MTS-OUT is full")
        gateway.mts_out.put(Transfer(reverse_path, (address,), octets))
        return True

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
                    targets = [Target(mailbox.inbox) for mailbox in await self._mailboxes(transfer.recipients)]
                    await self._converter.put(transfer.octets, targets)
                gateway.delivered += 1
            except Exception as error:  # a connector's bad message harms only the connector
                _note(gateway, f"in: {error}")
            gateway.settle()
            actor.doing = "in"

    async def _mailboxes(self, recipients: Sequence[str]) -> list[Any]:
        found = [await self._directory.recipient(address) for address in recipients]
        if not found:
            raise NoSuchMailbox("no recipients")
        return list({mailbox.name: mailbox for mailbox in found}.values())

    async def _work_out(self, actor: Actor, gateway: Gateway) -> None:
        async with self._threads.thread():
            await self._carry_away(actor, gateway)

    async def _carry_away(self, actor: Actor, gateway: Gateway) -> None:
        while True:
            try:
                transfer = await gateway.mts_out.get()
            except QueueClosed:
                return
            actor.doing = f"out to {', '.join(transfer.recipients[:3])}"
            try:
                hand_over = partial(gateway.connector.deliver, transfer)
                async with self._threads.thread():
                    await self._converter.gateway_outbound(transfer.octets, hand_over)
                gateway.carried += 1
            except Exception as error:  # whatever a connector raises is its own affair
                _note(gateway, f"out: {error}")
            actor.doing = "out"

    def queue_lengths(self) -> tuple[int, int]:
        """(MTS-IN, MTS-OUT) of all gateways together."""
        return (
            sum(len(gateway.mts_in) for gateway in self.gateways.values()),
            sum(len(gateway.mts_out) for gateway in self.gateways.values()),
        )


def _note(gateway: Gateway, failure: str) -> None:
    if len(gateway.failures) < 100:
        gateway.failures.append(failure)
