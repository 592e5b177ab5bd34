"""Q279798 on real sockets: the schedule that jams the defective build, run against any build.

The schedule is the same for every build: an inbound conversion is let into its first section and held there; an
outbound conversion is started and goes as far as it can (into its own first section, or up to the one that is held);
both are let go. No sleeps and no retries: gates at named points. Whether they end depends on the order of the
sections alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from emulator.config import Account, Settings
from emulator.events import SectionBlocked
from emulator.mts import Transfer
from emulator.scheduling import Preemption
from emulator.server import IMC, IS, Server
from protocols.actor import Actor
from protocols.ports import Target

from .clients import Client, ImapClient, NntpClient, Pop3Client, Refused, SmtpClient
from .gates import Gates
from .stacks import await_stack
from .watcher import Jam, Watcher

INBOUND = ("smtp", "nntp", "imap", "gateway")
OUTBOUND = ("pop3", "imap", "nntp")
READER, RECIPIENT, PROBE, PASSWORD, GROUP = "alice", "bob", "carol", "secret", "misc.test"
VERDICT_SECONDS_MAX = 10.0
INBOUND_ACTORS = {"smtp": "inbound", "nntp": "nntp", "imap": "imap", "gateway": "gateway"}

C = TypeVar("C", bound=Client)
Progress = Callable[[str], None]


@dataclass(slots=True)
class Probe:
    """What one protocol still does: each stage and how it answered (`ok`, `no answer within 0.5 s`, an error)."""

    protocol: str
    stages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def hung_at(self) -> str:
        """The first stage without an answer, or an empty string."""
        return next((stage for stage, result in self.stages if result.startswith("no answer")), "")

    def __str__(self) -> str:
        return f"{self.protocol:5} " + ", ".join(f"{stage}: {result}" for stage, result in self.stages)


@dataclass(slots=True)
class Outcome:
    """What one run showed."""

    build: str
    inbound: str
    outbound: str
    jam: Jam | None = None
    finished: bool = False
    """Both conversions ended."""
    stacks: dict[str, list[str]] = field(default_factory=dict)
    queues_before: dict[str, int] = field(default_factory=dict)
    queues_after: dict[str, int] = field(default_factory=dict)
    probes: list[Probe] = field(default_factory=list)
    stop_ended: bool | None = None
    """None: no stop was tried."""
    stop_states: dict[str, str] = field(default_factory=dict)
    stop_seconds: float = 0.0
    delivered: int = 0
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """`jammed`, `delivered` or `inconclusive`."""
        return "jammed" if self.jam else "delivered" if self.finished else "inconclusive"


def settings_for(build: str) -> Settings:
    """A server for one run: no preemption but at gates, so that the schedule is the gates' alone."""
    return Settings(
        build=build,
        accounts=tuple(Account(name, PASSWORD) for name in (READER, RECIPIENT, PROBE)),
        groups=(GROUP,),
        preemption=Preemption(one_in=0),
        inbound_threads=4,
        tls=False,
    )


def message(subject: str, *, group: str = "") -> bytes:
    """A small message or article."""
    where = f"Newsgroups: {group}" if group else f"To: {RECIPIENT}@mailjam.test"
    number = time.monotonic_ns()
    return (
        f"From: Sender <sender@mailjam.test>\r\n{where}\r\nSubject: {subject}\r\n"
        f"Message-ID: <{number}.{subject.replace(' ', '.')}@mailjam.test>\r\n"
        f"Date: Fri, 08 Dec 2000 10:00:00 +0000\r\n\r\nThis message passes the IMAIL conversion.\r\n"
    ).encode()


class GatewayClient:
    """A connector for the scenario: brings messages, carries none away."""

    name = "scenario-gateway"

    def takes(self, address: str) -> bool:
        return False

    async def deliver(self, transfer: Transfer, properties: Any) -> None:
        raise NotImplementedError("nothing is routed to this gateway")


class Run:
    """One server and the traffic of one run against it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.clients: list[Client] = []

    async def client(self, kind: type[C], protocol: str) -> C:
        """A connected client that is closed with the run."""
        client = await kind.connect(self.server.addresses[protocol])
        self.clients.append(client)
        return client

    async def prepare(self) -> None:
        """A message for the reader and an article, converted inbound and never yet outbound."""
        store = self.server.store
        await self.server.converter.put(message("to be read"), [Target(store.mailbox(READER).inbox)])
        await self.server.converter.put(message("to be read by the probe"), [Target(store.mailbox(PROBE).inbox)])
        await self.server.converter.put(message("article", group=GROUP), [Target(store.newsgroup(GROUP))])

    async def start_inbound(self, kind: str) -> Awaitable[Any]:
        """Connect and log in; what is returned sends one message in and ends when it is delivered."""
        server = self.server
        if kind == "smtp":
            smtp = await self.client(SmtpClient, "smtp")
            await smtp.hello()

            async def send() -> None:
                await smtp.send("sender@mailjam.test", [f"{RECIPIENT}@mailjam.test"], message("inbound"))
                await server.inbound.settled()

            return send()
        if kind == "imap":
            imap = await self.client(ImapClient, "imap")
            await imap.login(RECIPIENT, PASSWORD)
            return imap.append("INBOX", message("appended"))
        if kind == "nntp":
            nntp = await self.client(NntpClient, "nntp")
            await nntp.login(RECIPIENT, PASSWORD)
            return nntp.post(message("posted", group=GROUP))
        gateway = server.mts.log_on(GatewayClient())

        async def bring() -> None:
            server.mts.submit(GatewayClient.name, "x@gateway.test", [RECIPIENT], message("from the gateway"))
            await gateway.settled()

        return bring()

    async def start_outbound(self, kind: str) -> Awaitable[Any]:
        """Connect, log in and select; what is returned reads the message."""
        if kind == "pop3":
            pop3 = await self.client(Pop3Client, "pop3")
            await pop3.login(READER, PASSWORD)
            return pop3.retrieve(1)
        if kind == "imap":
            imap = await self.client(ImapClient, "imap")
            await imap.login(READER, PASSWORD)
            await imap.command("SELECT INBOX")
            return imap.fetch_body(1)
        nntp = await self.client(NntpClient, "nntp")
        await nntp.login(READER, PASSWORD)
        await nntp.command(f"GROUP {GROUP}", 211)
        return nntp.article("1")

    async def close(self) -> None:
        """Close all clients at once."""
        for client in self.clients:
            client.writer.transport.abort()


async def run_once(
    build: str,
    inbound: str = "smtp",
    outbound: str = "pop3",
    *,
    look_closer: bool = False,
    progress: Progress = lambda text: None,
) -> Outcome:
    """Run the schedule once. `look_closer`: probe every protocol, watch queues grow, try to stop the service."""
    started = time.monotonic()
    server = Server(settings_for(build))
    outcome = Outcome(server.build.number, inbound, outbound)
    await server.start()
    progress(f"mailjam {server.build.number} ({server.build.service_pack}) listens: {listening(server)}")
    run = Run(server)
    tasks: list[asyncio.Task[Any]] = []
    try:
        async with Watcher(server, stalled_seconds=0.5) as watcher:
            await run.prepare()
            tasks = await _play(run, inbound, outbound, progress)
            outcome.jam = await _verdict(watcher, tasks)
            outcome.finished = outcome.jam is None and all(task.done() and not task.exception() for task in tasks)
            if outcome.jam is not None:
                outcome.stacks = {str(e.waiter): await_stack(e.waiter_actor) for e in outcome.jam.cycle}
            if look_closer:
                await _look_closer(server, outcome, progress)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await run.close()
        await server.kill()
    outcome.seconds = time.monotonic() - started
    return outcome


async def _play(run: Run, inbound: str, outbound: str, progress: Progress) -> list[asyncio.Task[Any]]:
    """The schedule itself; the tasks of the two clients."""
    server = run.server
    gates = Gates(server.scheduler)
    blocked: list[Actor] = []

    def note(event: SectionBlocked) -> None:
        blocked.append(event.actor)
        gates.changed()

    server.bus.on(SectionBlocked, note)
    send = await run.start_inbound(inbound)
    read = await run.start_outbound(outbound)
    gate_in = gates.hold("inbound.*.held", actor=INBOUND_ACTORS[inbound], count=1)
    gate_out = gates.hold("outbound.*.held", actor=outbound, count=1)
    tasks = [_spawn(send)]
    try:
        await gate_in.wait_until_held()
    except BaseException:
        if isinstance(read, Coroutine):
            read.close()  # nobody will run it
        raise
    actor, point = gate_in.held[0]
    progress(f"held at {point.name}: {actor}")
    tasks.append(_spawn(read))
    await gates.wait_until(lambda: bool(gate_out.held or blocked), VERDICT_SECONDS_MAX, "the outbound conversion")
    if gate_out.held:
        actor, point = gate_out.held[0]
        progress(f"held at {point.name}: {actor}")
    else:
        progress(f"waits for {blocked[0].waiting_for.name}: {blocked[0]}")
    server.bus.off(SectionBlocked, note)
    gates.close()
    progress("both are let go")
    return tasks


def _spawn(awaitable: Awaitable[Any]) -> asyncio.Task[Any]:
    assert isinstance(awaitable, Coroutine)
    task = asyncio.get_running_loop().create_task(awaitable)
    # a run that is interrupted looks at none of them any more, and need not hear how they ended
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task


async def _verdict(watcher: Watcher, tasks: Sequence[asyncio.Task[Any]]) -> Jam | None:
    """Wait until the cycle closes or both conversions end, whichever comes first."""
    jam = asyncio.get_running_loop().create_task(watcher.wait_for_jam(VERDICT_SECONDS_MAX))
    both = asyncio.get_running_loop().create_task(_all(tasks))
    await asyncio.wait((jam, both), timeout=VERDICT_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
    for task in (jam, both):
        task.cancel()
    await asyncio.wait((jam, both))
    return watcher.jams[0] if watcher.jams else None


async def _all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)


def listening(server: Server) -> str:
    """The addresses in one line."""
    return ", ".join(f"{name} {host}:{port}" for name, (host, port) in server.addresses.items())


# --- symptoms ---------------------------------------------------------------------------------------------------------

PROBE_SECONDS_MAX = 0.5
MORE_MESSAGES = 5
STOP_SECONDS_MAX = 1.5


async def _look_closer(server: Server, outcome: Outcome, progress: Progress) -> None:
    progress("sending five more messages by SMTP")
    outcome.queues_before = server.queue_lengths()
    await _send_more(server)
    if outcome.jam is None:
        await server.inbound.settled()
    outcome.queues_after = server.queue_lengths()
    outcome.delivered = server.inbound.delivered_count
    progress("asking each protocol what still works")
    outcome.probes = await probe_all(server)
    progress("stopping the service")
    started = time.monotonic()
    stop = server.control.request_stop(IS)
    await asyncio.wait([stop], timeout=STOP_SECONDS_MAX)
    outcome.stop_ended = stop.done()
    outcome.stop_seconds = time.monotonic() - started
    outcome.stop_states = {name: str(server.states()[name]) for name in (IMC, IS)}


async def _send_more(server: Server) -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        for number in range(MORE_MESSAGES):
            await client.send("sender@mailjam.test", [f"{RECIPIENT}@mailjam.test"], message(f"more {number}"))


async def probe_all(server: Server) -> list[Probe]:
    """Greeting, login, NOOP, and one operation that needs conversion, in each protocol, all at once."""
    return list(
        await asyncio.gather(
            _probe("smtp", server, SmtpClient, _smtp_stages),
            _probe("pop3", server, Pop3Client, _pop3_stages),
            _probe("imap", server, ImapClient, _imap_stages),
            _probe("nntp", server, NntpClient, _nntp_stages),
        )
    )


Stages = Callable[[Any], list[tuple[str, Callable[[], Awaitable[Any]]]]]


async def _probe(protocol: str, server: Server, kind: type[Any], stages: Stages) -> Probe:
    probe = Probe(protocol)
    try:
        client = await kind.connect(server.addresses[protocol], seconds_max=PROBE_SECONDS_MAX)
    except (TimeoutError, OSError, Refused) as error:
        probe.stages.append(("greeting", _in_words(error)))
        return probe
    probe.stages.append(("greeting", "ok"))
    try:
        for name, action in stages(client):
            try:
                await action()
            except (TimeoutError, OSError, asyncio.IncompleteReadError, Refused) as error:
                probe.stages.append((name, _in_words(error)))
                break
            probe.stages.append((name, "ok"))
    finally:
        client.writer.transport.abort()
    return probe


def _in_words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {PROBE_SECONDS_MAX:g} s"
    return str(error) or type(error).__name__


def _smtp_stages(client: SmtpClient) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    return [
        ("EHLO", client.hello),
        ("NOOP", lambda: client.command("NOOP", 250)),
        ("DATA", lambda: client.send("probe@mailjam.test", [f"{RECIPIENT}@mailjam.test"], message("probe"))),
    ]


def _pop3_stages(client: Pop3Client) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    return [
        ("login", lambda: client.login(PROBE, PASSWORD)),
        ("NOOP", lambda: client.command("NOOP")),
        ("RETR", lambda: client.retrieve(1)),
    ]


def _imap_stages(client: ImapClient) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    return [
        ("login", lambda: client.login(PROBE, PASSWORD)),
        ("CAPABILITY", lambda: client.command("CAPABILITY")),
        ("SELECT", lambda: client.command("SELECT INBOX")),
        ("NOOP", lambda: client.command("NOOP")),
        ("FETCH", lambda: client.fetch_body(1)),
    ]


def _nntp_stages(client: NntpClient) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    return [
        ("login", lambda: client.login(RECIPIENT, PASSWORD)),
        ("DATE", lambda: client.command("DATE", 111)),
        ("POST", lambda: client.post(message("probe", group=GROUP))),
    ]
