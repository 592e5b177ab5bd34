"""The outbound side of the Internet Mail Service (KB Q156063, Q189731): MTS-OUT, `Out`, the smart host, retry, reports.

Mail for other domains is kept in the spool's `Out` from the moment it is acknowledged. It waits in MTS-OUT for its
conversion, then for its delivery to the smart host, with retry and backoff; what fails or takes too long is reported to
the sender (RFC 3464). `Out` also holds what shall be released later (RFC 4865).

`InternetMail` is what front-ends see as `Submission`: it parts recipients that are here from those that are not.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from protocols.actor import Actor
from protocols.ports import Clock, Handle, PortError, Unavailable

from . import dsn, quirks
from .directory import split_address
from .events import Bus, MessageBad, MessageRelayed
from .queues import InboundMail, QueueClosed, WorkQueue
from .relay import Attempt, parse_smarthost, relay
from .scheduling import Scheduler, retry_pause
from .spool import BAD, OUT, Envelope, Spool

if TYPE_CHECKING:
    from .config import Settings
    from .converter import Converter
    from .directory import Directory

EXTENSIONS = frozenset({"DSN", "ETRN", "FUTURERELEASE", "MT-PRIORITY", "REQUIRETLS"})


class _ByPriority:
    """What a WorkQueue holds: higher priorities first (RFC 6710), else as they came."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._heap)

    def append(self, item: tuple[int, str]) -> None:
        heapq.heappush(self._heap, (-item[0], next(self._numbers), item[1]))

    def popleft(self) -> tuple[int, str]:
        priority, _, name = heapq.heappop(self._heap)
        return -priority, name


@dataclass(slots=True)
class Entry:
    """A message in `Out`."""

    name: str
    octets: int
    envelope: Envelope
    attempts: int = 0
    delay_reported: bool = False
    timer: Handle | None = None
    """Set while it waits for its next attempt or its release."""
    held: bool = False
    """It waits for its release."""
    reason: str = ""


class OutboundMail:
    """Queues and workers of the outbound side."""

    def __init__(
        self,
        settings: Settings,
        scheduler: Scheduler,
        clock: Clock,
        bus: Bus,
        spool: Spool,
        directory: Directory,
        converter: Converter,
        inbound: InboundMail,
    ) -> None:
        """Raises SettingsError for a smart host that is none."""
        self._settings = settings
        self._scheduler = scheduler
        self._clock = clock
        self._bus = bus
        self._spool = spool
        self._directory = directory
        self._converter = converter
        self._inbound = inbound
        self._host = parse_smarthost(settings.smarthost) if settings.smarthost else None
        self.mts_out: WorkQueue[str] = WorkQueue(scheduler)
        self.out: WorkQueue[tuple[int, str]] = WorkQueue(scheduler, _ByPriority())
        self.entries: dict[str, Entry] = {}
        """All messages in `Out` by name."""
        self._octets = 0
        self.workers: list[Any] = []
        self.relayed_count = 0

    # --- in ----------------------------------------------------------------------------------------------------------

    async def submit(self, envelope: Envelope, octets: bytes) -> str:
        """Keep a message in `Out`. Raises Unavailable at the queue's limits."""
        settings = self._settings
        if len(self.entries) >= settings.outbound_queue_messages_max:
            raise Unavailable("the outbound queue is full; try again later")
        if self._octets + len(octets) > settings.inbound_queue_bytes_max:
            raise Unavailable("the outbound queue is full; try again later")
        name = await self._spool.write(OUT, envelope, octets)
        self._add(Entry(name, len(octets), envelope))
        return name

    def _add(self, entry: Entry) -> None:
        self.entries[entry.name] = entry
        self._octets += entry.octets
        release = float(entry.envelope.options.get("hold_until", 0)) - self._clock.time()
        if release > 0:
            entry.held = True
            entry.timer = self._clock.call_later(release, lambda: self._released(entry))
        else:
            self.mts_out.put(entry.name)

    def _released(self, entry: Entry) -> None:
        entry.held, entry.timer = False, None
        self.mts_out.put(entry.name)

    async def recover(self) -> None:
        """Take up what an earlier process left in `Out`."""
        for name, size in await self._spool.names(OUT):
            if name not in self.entries:
                try:
                    envelope, _ = await self._spool.read(OUT, name)
                except (ValueError, KeyError) as error:
                    await self._spool.move(OUT, name, BAD, f"damaged: {error}")
                    continue
                self._add(Entry(name, size, envelope, envelope.attempts))

    def start_queue(self, node: str) -> int:
        """ETRN: try now what waits for a domain, or with `@` for its subdomains too: how many messages."""
        started = 0
        for entry in tuple(self.entries.values()):
            if entry.held or not any(_matches(node, address) for address in entry.envelope.recipients):
                continue
            started += 1
            if entry.timer is not None:
                entry.timer.cancel()
                self._due(entry)
        return started

    # --- the workers -------------------------------------------------------------------------------------------------

    def start_workers(self) -> None:
        """Start the conversion's worker and `outbound_threads` that deliver."""
        self.mts_out.open()
        self.out.open()
        actor = Actor("outbound-conversion")
        self.workers = [self._scheduler.spawn(actor, self._convert(actor))]
        for _ in range(self._settings.outbound_threads):
            actor = Actor("outbound")
            self.workers.append(self._scheduler.spawn(actor, self._work(actor)))

    def close(self) -> None:
        """Let the workers go home after what they are doing; what waits stays in `Out`."""
        self.mts_out.close()
        self.out.close()
        for entry in self.entries.values():
            if entry.timer is not None:
                entry.timer.cancel()
        self.entries.clear()
        self._octets = 0

    async def _convert(self, actor: Actor) -> None:
        while True:
            try:
                name = await self.mts_out.get()
            except QueueClosed:
                return
            entry = self.entries.get(name)
            if entry is None:
                continue
            actor.doing = f"{name} from <{entry.envelope.reverse_path}>"
            try:
                _, octets = await self._spool.read(OUT, name)
                await self._converter.gateway_outbound(octets, _nothing)
            except FileNotFoundError:
                self._forget(entry)
            except Unavailable as error:
                self._wait(entry, str(error))
            except Exception as error:  # whatever a poison message does, the queue goes on
                await self._give_up(entry, f"conversion failed: {type(error).__name__}: {error}")
            else:
                self._due(entry)
            actor.doing = ""

    def _due(self, entry: Entry) -> None:
        entry.timer = None
        self.out.put((int(entry.envelope.options.get("priority", 0)), entry.name))

    async def _work(self, actor: Actor) -> None:
        while True:
            try:
                _, name = await self.out.get()
            except QueueClosed:
                return
            entry = self.entries.get(name)
            if entry is not None:
                actor.doing = f"{name} to {', '.join(entry.envelope.recipients[:3])}"
                try:
                    await self._deliver(entry)
                except (Unavailable, OSError) as error:
                    self._wait(entry, str(error))
                actor.doing = ""

    async def _deliver(self, entry: Entry) -> None:
        try:
            envelope, octets = await self._spool.read(OUT, entry.name)
        except FileNotFoundError:
            self._forget(entry)
            return
        here = [address for address in envelope.recipients if self._host is None or self._directory.is_local(address)]
        there = [address for address in envelope.recipients if address not in here]
        if here:  # held for its release, and now delivered as if it had just come
            await self._inbound.submit(envelope.reverse_path, here, octets, envelope.options)
        attempt = Attempt()
        if there and self._host is not None:
            unterminated = quirks.NO_LAST_LINE_END in self._converter.build.quirks
            attempt = await relay(
                self._host,
                self._settings.front_end.hostname,
                replace(envelope, recipients=tuple(there)),
                quirks.without_last_line_end(octets) if unterminated else octets,
                seconds_max=self._settings.outbound_seconds_max,
                as_it_is=unterminated,
            )
        await self._settle(entry, envelope, octets, attempt)

    async def _settle(self, entry: Entry, envelope: Envelope, octets: bytes, attempt: Attempt) -> None:
        """Report what is settled, keep the rest for another attempt."""
        now, settings = self._clock.time(), self._settings
        outcomes, waiting = list(attempt.outcomes), attempt.waiting
        if waiting and now - envelope.received_at >= settings.outbound_expire_seconds:
            outcomes += [dsn.Outcome(address, dsn.FAILED, "4.4.7", f"gave up: {attempt.reason}") for address in waiting]
            waiting = []
        relayed = tuple(outcome.address for outcome in outcomes if outcome.action in (dsn.DELIVERED, dsn.RELAYED))
        if relayed:
            self.relayed_count += 1
            self._bus.publish(MessageRelayed(entry.name, relayed))
        # what the next host promised to report is not reported by us
        await self.report(envelope, octets, [o for o in outcomes if o.action != dsn.DELIVERED])
        if not waiting:
            await self._spool.remove(OUT, entry.name)
            self._forget(entry)
            return
        entry.envelope = rest = replace(envelope, recipients=tuple(waiting), attempts=entry.attempts + 1)
        if len(waiting) < len(envelope.recipients):  # so that a restart does not send it twice to those who have it
            old = entry.name
            name = await self._spool.write(OUT, rest, octets)
            await self._spool.remove(OUT, old)
            self.entries.pop(old, None)
            entry.name = name
            self.entries[name] = entry
        if not entry.delay_reported and now - envelope.received_at >= settings.outbound_delay_warning_seconds:
            entry.delay_reported = True
            delayed = [dsn.Outcome(address, dsn.DELAYED, "4.4.1", attempt.reason) for address in waiting]
            await self.report(rest, octets, delayed)
        self._wait(entry, attempt.reason)

    def _wait(self, entry: Entry, reason: str) -> None:
        """Until the next attempt: the pause doubles each time."""
        settings = self._settings
        entry.reason = reason
        seconds = retry_pause(entry.attempts, settings.outbound_retry_seconds_min, settings.outbound_retry_seconds_max)
        entry.attempts += 1
        entry.timer = self._clock.call_later(seconds, lambda: self._due(entry))

    async def _give_up(self, entry: Entry, reason: str) -> None:
        await self._spool.move(OUT, entry.name, BAD, reason)
        self._forget(entry)
        self._bus.publish(MessageBad(entry.name, reason))

    def _forget(self, entry: Entry) -> None:
        if self.entries.pop(entry.name, None) is not None:
            self._octets -= entry.octets

    # --- reports -----------------------------------------------------------------------------------------------------

    async def report(self, envelope: Envelope, octets: bytes, outcomes: Sequence[dsn.Outcome]) -> None:
        """Tell the sender what it wants to know; nobody is told of the null reverse-path (RFC 5321 section 6.1)."""
        if not envelope.reverse_path:
            return
        wanted = [outcome for outcome in outcomes if dsn.is_wanted(outcome, envelope.options)]
        for action in dict.fromkeys(outcome.action for outcome in wanted):
            build = partial(
                dsn.report,
                self._settings.front_end.hostname,
                envelope.reverse_path,
                envelope.options,
                octets,
                [outcome for outcome in wanted if outcome.action == action],
                arrived=envelope.received_at,
                now=self._clock.time(),
                token=os.urandom(12).hex(),
            )
            text = await self._converter.generate_report(build)
            options = {"smtputf8": True} if not envelope.reverse_path.isascii() else {}
            try:
                await self.deliver_report(envelope.reverse_path, text, options)
            except PortError as error:  # the queue is full: a report is not worth more than new mail
                self._bus.publish(MessageBad("report", str(error)))

    async def deliver_report(self, address: str, octets: bytes, options: dict[str, Any]) -> None:
        """A report on its way, with the null reverse-path."""
        if self._directory.is_local(address):
            await self._inbound.submit("", (address,), octets, options)
        else:
            await self.submit(Envelope("", (address,), self._clock.time(), options), octets)


class InternetMail:
    """`protocols.ports.Submission` for front-ends: mail for here goes to `In`, other mail to `Out`."""

    extensions = EXTENSIONS

    def __init__(self, settings: Settings, clock: Clock, directory: Directory, inbound: InboundMail, out: OutboundMail):
        self._clock = clock
        self._directory = directory
        self._inbound = inbound
        self._out = out
        self._relays = bool(settings.smarthost)

    def check_recipient(self, address: str) -> None:
        """Raises NoSuchMailbox, Unavailable."""
        if not self._relays or self._directory.is_local(address):
            self._inbound.check_recipient(address)

    async def start_queue(self, node: str) -> int:
        """See protocols.ports.Submission."""
        return self._out.start_queue(node)

    async def submit(self, reverse_path: str, recipients: Sequence[str], octets: bytes, options: Any = None) -> str:
        """Keep the message, for its release, its delivery here, its relaying, or both. Raises Unavailable."""
        options = options or {}
        if not self._relays and "hold_until" not in options:
            return await self._inbound.submit(reverse_path, recipients, octets, options)
        held = float(options.get("hold_until", 0)) > self._clock.time()
        away = [address for address in recipients if held or (self._relays and not self._directory.is_local(address))]
        here = [address for address in recipients if address not in away]
        name = ""
        if away:
            envelope = Envelope(reverse_path, tuple(away), self._clock.time(), dict(options))
            name = await self._out.submit(envelope, octets)
        if here:
            name = await self._inbound.submit(reverse_path, here, octets, options)
        return name


def _matches(node: str, address: str) -> bool:
    _, domain = split_address(address)
    if node.startswith("@"):
        return domain == node[1:] or domain.endswith("." + node[1:])
    return domain == node


async def _nothing(properties: Any) -> None:
    """The Internet Mail Service takes what is converted from `Out` itself."""
