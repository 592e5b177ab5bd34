"""A server and the clients of a scenario on real sockets, on which schedules are run one after another.

Server and connections are kept from one schedule to the next: a jam is ended by having one of those who wait give up,
which answers its client with an error. Where that does not free the sections, the server is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from emulator.events import MessageAccepted, MessageBad, MessageDelivered, SiteAddressingRebuilt
from emulator.mts import Transfer
from emulator.server import Server
from harness.clients import Client, ImapClient, NntpClient, Pop3Client, SmtpClient
from harness.exploration.search import stay
from harness.participants import (
    GROUP,
    KINDS,
    PASSWORD,
    UnknownParticipant,
    inbound_message,
    message,
    report_message,
    user_of,
)
from harness.scenario import Scenario
from harness.wire import DONE, INCONCLUSIVE, JAM, Controller, Follow, Picker, Role, WireOutcome
from protocols.actor import Actor
from protocols.ports import Rejected, Target

UNJAM_SECONDS_MAX = 5.0
VICTIMS = {"pop3": 0, "imap": 0, "nntp": 0, "report": 1, "gateway": 2, "inbound": 3}
"""Whose wait is ended first after a jam: a session only answers with an error."""
WIRE_KINDS = frozenset(KINDS) - {"put", "get"}


class Driver:
    """The client's side of one participant."""

    def __init__(self, bench: Bench, index: int, kind: str) -> None:
        self.bench = bench
        self.index = index
        self.number = index + 1
        self.kind = kind
        self.client: Client | None = None

    async def prepare(self) -> None:
        """Connect and log in, if that is not done already."""

    async def request(self) -> None:
        """Send the request and wait until it is served."""
        raise NotImplementedError

    def octets(self) -> bytes:
        """A message to bring in, with a Message-ID that no other one has."""
        return self.bench.fresh(inbound_message(self.kind, self.number))

    async def close(self) -> None:
        """Close the connection at once."""
        if self.client is not None:
            self.client.writer.transport.abort()
            self.client = None

    async def _connect(self, client_class: type[Any], protocol: str) -> Any:
        server = self.bench.server
        client = self.client = await client_class.connect(server.addresses[protocol])
        host, port = client.writer.get_extra_info("sockname")[:2]
        for connection in server.front_ends[protocol].connections:
            if connection.peer == f"{host}:{port}":
                assert connection.session is not None
                self.bench.actors[connection.session.actor] = self.index
                return client
        raise ConnectionError(f"the server does not know the {protocol} connection from port {port}")


class Pop3Driver(Driver):
    async def prepare(self) -> None:
        if self.client is None:
            client = await self._connect(Pop3Client, "pop3")
            await client.login(user_of(self.number), PASSWORD)

    async def request(self) -> None:
        assert isinstance(self.client, Pop3Client)
        await self.client.retrieve(1)


class FetchDriver(Driver):
    async def prepare(self) -> None:
        if self.client is None:
            client = await self._connect(ImapClient, "imap")
            await client.login(user_of(self.number), PASSWORD)
            await client.command("SELECT INBOX")

    async def request(self) -> None:
        assert isinstance(self.client, ImapClient)
        await self.client.fetch_body(1)


class AppendDriver(Driver):
    async def prepare(self) -> None:
        if self.client is None:
            client = await self._connect(ImapClient, "imap")
            await client.login(user_of(self.number), PASSWORD)

    async def request(self) -> None:
        assert isinstance(self.client, ImapClient)
        await self.client.append("INBOX", self.octets())


class ArticleDriver(Driver):
    async def prepare(self) -> None:
        if self.client is None:
            client = await self._connect(NntpClient, "nntp")
            await client.command(f"GROUP {GROUP}", 211)

    async def request(self) -> None:
        assert isinstance(self.client, NntpClient)
        await self.client.article(f"<{self.number}.1@example.com>")


class PostDriver(Driver):
    async def prepare(self) -> None:
        if self.client is None:
            await self._connect(NntpClient, "nntp")

    async def request(self) -> None:
        assert isinstance(self.client, NntpClient)
        await self.client.post(self.octets())


class SmtpDriver(Driver):
    """The participant is the worker that converts the message; the SMTP session only hands it over."""

    async def prepare(self) -> None:
        if self.client is None:
            client = self.client = await SmtpClient.connect(self.bench.server.addresses["smtp"])
            await client.hello()

    async def request(self) -> None:
        assert isinstance(self.client, SmtpClient)
        delivered = self.bench.expect_delivery(self.index)
        commands = (
            f"MAIL FROM:<{self.index}@sender.example>\r\nRCPT TO:<{user_of(self.number)}@example.com>\r\nDATA\r\n"
        )
        self.client.write(commands.encode())  # RFC 2920
        for expected in (250, 250, 354):
            await self.client.reply(expected)
        self.client.write(self.octets() + b".\r\n")
        await self.client.reply(250)
        await delivered


class GatewayInDriver(Driver):
    async def prepare(self) -> None:
        self.bench.gateway(self.index)

    async def request(self) -> None:
        name = self.bench.gateway(self.index)
        mts = self.bench.server.mts
        mts.submit(name, "sender@example.com", [f"{user_of(self.number)}@example.com"], self.octets())
        await mts.gateways[name].settled()


class GatewayOutDriver(Driver):
    async def prepare(self) -> None:
        self.bench.gateway(self.index)

    async def request(self) -> None:
        name = self.bench.gateway(self.index)
        carried = self.bench.expect_carrying(self.index)
        transfer = Transfer("sender@example.com", ("someone@elsewhere.example",), self.octets())
        self.bench.server.mts.gateways[name].mts_out.put(transfer)
        await carried


class NotificationDriver(Driver):
    async def request(self) -> None:
        rebuilt = self.bench.expect_rebuilding(self.index)
        self.bench.server.directory.changed(f"protocol object {self.number}")
        await rebuilt


class ReportDriver(Driver):
    async def request(self) -> None:
        server = self.bench.server
        mailbox = server.store.mailbox(user_of(self.number))
        actor = Actor("report")
        self.bench.actors[actor] = self.index
        octets = self.bench.fresh(report_message(self.number))
        task = server.scheduler.spawn(actor, self._report(octets, mailbox))
        with contextlib.suppress(Rejected):
            await task

    async def _report(self, octets: bytes, mailbox: Any) -> None:
        await self.bench.server.converter.report(lambda: octets, [Target(mailbox.inbox)])


DRIVERS: dict[str, type[Driver]] = {
    "smtp": SmtpDriver,
    "post": PostDriver,
    "append": AppendDriver,
    "gateway-in": GatewayInDriver,
    "pop3": Pop3Driver,
    "fetch": FetchDriver,
    "article": ArticleDriver,
    "notification": NotificationDriver,
    "report": ReportDriver,
    "gateway-out": GatewayOutDriver,
}


class _Connector:
    """A gateway that takes nothing by itself; what is put into its MTS-OUT is carried away."""

    def __init__(self, name: str, carried: Callable[[], object]) -> None:
        self.name = name
        self._carried = carried

    def takes(self, address: str) -> bool:
        return False

    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        self._carried()


class Bench:
    """`async with Bench(scenario) as bench: outcome = await bench.run(pick)`, as often as wanted.

    Raises UnknownParticipant for kinds that have no counterpart on real sockets.
    """

    def __init__(self, scenario: Scenario) -> None:
        for kind in scenario.kinds:
            if kind not in WIRE_KINDS:
                raise UnknownParticipant(f"{kind!r} has no client: on real sockets there are {', '.join(WIRE_KINDS)}")
        self.scenario = scenario
        self.actors: dict[Actor, int] = {}
        self.restarts = 0
        self.drivers = [DRIVERS[kind](self, index, kind) for index, kind in enumerate(scenario.kinds)]
        self._serial = 0
        self._expected: dict[int, asyncio.Future[None]] = {}
        self._spooled: dict[str, int] = {}
        self.roles: list[Role] = []

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start a server and put in what the readers will read."""
        self.actors.clear()
        server = self.server = Server(self.scenario.settings())
        await server.start()
        for number, kind in enumerate(self.scenario.kinds, 1):
            if kind in ("pop3", "fetch"):
                await server.converter.put(message(number), [Target(server.store.mailbox(user_of(number)).inbox)])
            elif kind == "article":
                folder = server.store.newsgroup(GROUP)
                await server.converter.put(message(number, newsgroup=True), [Target(folder)])
        server.bus.on(MessageAccepted, self._accepted)
        server.bus.on(MessageDelivered, self._delivered)
        server.bus.on(MessageBad, self._delivered)
        server.bus.on(SiteAddressingRebuilt, self._rebuilt)
        self.controller = Controller(server, self._identify)
        self.controller.install()

    async def stop(self) -> None:
        """End everything, jammed or not."""
        for role in self.roles:
            if role.task is not None:
                role.task.cancel()
        for driver in self.drivers:
            await driver.close()
        await self.server.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- schedules ----------------------------------------------------------------------------------------------------

    async def run(self, pick: Picker, *, leave_jammed: bool = False) -> WireOutcome:
        """Run one schedule. With `leave_jammed` the server stays as it is at the end, to be looked at."""
        for driver in self.drivers:
            await driver.prepare()
        self.server.converter.forget_converted()
        self.roles = [Role(driver.index, driver.kind, driver.request) for driver in self.drivers]
        outcome = await self.controller.run(self.roles, pick)
        if not leave_jammed:
            await self._clean_up(outcome)
        return outcome

    async def follow(self, tape: Sequence[tuple[int, str]], *, leave_jammed: bool = False) -> WireOutcome:
        """Run the schedule of a tape, and nothing else."""
        return await self.run(Follow(tape, self.point_of), leave_jammed=leave_jammed)

    async def follow_order(self, order: Iterable[int]) -> WireOutcome:
        """Follow the order of participants as far as they can go, then run without preemption: for another build."""
        rest = list(order)

        def pick(enabled: list[int], last: int) -> int:
            while rest:
                index = rest.pop(0)
                if index in enabled:
                    return index
            return stay(enabled, last)

        return await self.run(pick)

    def point_of(self, index: int) -> str:
        """The name of the point where a participant stands now."""
        point = self.roles[index].point if index < len(self.roles) else None
        return point.name if point is not None else "no point"

    async def _clean_up(self, outcome: WireOutcome) -> None:
        if outcome.kind == JAM and self._break_cycles():
            if not await self._all_served():
                await self._replace()
            return
        if outcome.kind != DONE or not await self._all_served():
            await self._replace()

    def _break_cycles(self) -> bool:
        """Have one actor of the jam give up its wait: it answers its client with an error, and the others go on.

        False where there is no cycle to break.
        """
        cycles = self.server.sections.cycles()
        for cycle in cycles:
            victim = min(cycle, key=lambda wait: VICTIMS.get(wait.waiter.kind, 9))
            victim.section.refuse(victim.waiter, Rejected("the schedule is over"))
        return bool(cycles)

    async def _all_served(self) -> bool:
        tasks = [role.task for role in self.roles if role.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=UNJAM_SECONDS_MAX)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # a client whose session was ended says so; that is what was asked for
        free = all(section.owner is None for section in self.server.sections)
        return free and all(task.done() for task in tasks)

    async def _replace(self) -> None:
        self.restarts += 1
        await self.stop()
        await self.start()

    # --- who is who ---------------------------------------------------------------------------------------------------

    def _identify(self, actor: Actor) -> int | None:
        index = self.actors.get(actor)
        if index is not None:
            return index
        if actor.kind == "inbound":
            return self._spooled.get(actor.doing.partition(" ")[0])
        if actor.kind == "gateway" and actor.user.startswith("participant-"):
            return int(actor.user.removeprefix("participant-"))
        if actor.kind == "notification":
            return next((driver.index for driver in self.drivers if driver.kind == "notification"), None)
        return None

    def _accepted(self, event: MessageAccepted) -> None:
        index = event.reverse_path.partition("@")[0]
        if index.isdigit():
            self._spooled[event.spool_name] = int(index)

    def _delivered(self, event: MessageDelivered | MessageBad) -> None:
        index = self._spooled.pop(event.spool_name, None)
        if index is not None:
            self._happened(index)

    def _rebuilt(self, event: SiteAddressingRebuilt) -> None:
        for driver in self.drivers:
            if driver.kind == "notification":
                self._happened(driver.index)

    def _expect(self, index: int) -> asyncio.Future[None]:
        future = self._expected[index] = asyncio.get_running_loop().create_future()
        return future

    expect_delivery = expect_carrying = expect_rebuilding = _expect

    def _happened(self, index: int) -> None:
        future = self._expected.pop(index, None)
        if future is not None and not future.done():
            future.set_result(None)

    def gateway(self, index: int) -> str:
        """The name of a participant's gateway, which is logged on if it is not."""
        name = f"participant-{index}"
        if name not in self.server.mts.gateways:
            loop = asyncio.get_running_loop()
            carried = partial(loop.call_soon_threadsafe, self._happened, index)
            self.server.mts.log_on(_Connector(name, carried))
        return name

    def fresh(self, octets: bytes) -> bytes:
        """The message with a Message-ID of its own."""
        self._serial += 1
        return octets.replace(b"\r\nMessage-ID: <", b"\r\nMessage-ID: <%d." % self._serial, 1)


__all__ = ["DONE", "INCONCLUSIVE", "JAM", "Bench", "WireOutcome"]
