"""Where a scenario is played: a running server of a build, real clients, and what can be seen of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from emulator.config import Account, Settings
from emulator.poison import REWIND
from emulator.scheduling import Point, Preemption
from emulator.server import IMC, IS, Server
from emulator.service import State
from harness.clients import Client, ImapClient, NntpClient, Pop3Client, SmtpClient
from protocols.actor import Actor
from protocols.ports import Target

READER, OTHER, PASSWORD, GROUP = "alice", "bob", "secret", "misc.test"
PATIENCE_SECONDS = 1.0
"""A conversion that has not answered by then is taken as hung; it takes a few milliseconds."""
PATIENCE_STEPS = 20
"""In so many steps: while the process has no processor, or its loop is busy, time does not count beyond one of them."""

LOOK_EVERY_SECONDS = 0.005

C = TypeVar("C", bound=Client)


def mail(subject: str, body: str = "Hello.\r\n", *, fields: Sequence[str] = (), to: str = READER) -> bytes:
    """A message with the given further header fields."""
    more = "".join(f"{field}\r\n" for field in fields)
    return (
        f"From: Sender <sender@example.com>\r\nTo: {to}@example.com\r\nSubject: {subject}\r\n"
        f"Message-ID: <{abs(hash((subject, body)))}@example.com>\r\nDate: Fri, 08 Dec 2000 10:00:00 +0000\r\n"
        f"{more}\r\n{body}"
    ).encode()


class Stage:
    """`async with Stage("5.5.2650.24") as stage:`; everything on it has a deadline."""

    def __init__(
        self,
        build: str,
        defects: frozenset[str] = frozenset(),
        *,
        with_smarthost: bool = False,
        patience_factor: int = 1,
        **fields: Any,
    ) -> None:
        """`with_smarthost`: a second server of the last build takes mail for domains that are not this one's.

        `patience_factor`: how many times as long as usual what does not answer is waited for.
        """
        self._patience_factor = patience_factor
        fields = {"tls": False, **fields}
        self.settings = Settings(
            build=build,
            defects=defects,
            accounts=(Account(READER, PASSWORD), Account(OTHER, PASSWORD)),
            groups=(GROUP,),
            preemption=Preemption(one_in=0),
            **fields,
        )
        self.server: Server
        self.smarthost: Server | None = None
        if with_smarthost:
            self.smarthost = Server(Settings(preemption=Preemption(one_in=0), tls=False))
        self.rewinds = 0
        """How often a conversion asked for its stream to be rewound."""
        self._clients: list[Client] = []
        self._tasks: list[asyncio.Future[Any]] = []

    async def __aenter__(self) -> Self:
        if self.smarthost is not None:
            await self.smarthost.start()
            host, port = self.smarthost.addresses["smtp"]
            self.settings = replace(self.settings, smarthost=f"{host}:{port}")
        self.server = Server(self.settings)
        self.server.scheduler.hook = self._count
        await self.server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for client in self._clients:
            client.writer.transport.abort()
        await self.server.kill()
        if self.smarthost is not None:
            await self.smarthost.kill()

    def _count(self, actor: Actor, point: Point) -> None:
        if point is REWIND:
            self.rewinds += 1

    # --- clients ------------------------------------------------------------------------------------------------------

    async def client(self, kind: type[C], protocol: str) -> C:
        """A connected client."""
        client = await kind.connect(self.server.addresses[protocol])
        self._clients.append(client)
        return client

    async def pop3(self, user: str = READER) -> Pop3Client:
        """A POP3 client that has logged in."""
        client = await self.client(Pop3Client, "pop3")
        await client.login(user, PASSWORD)
        return client

    async def imap(self, user: str = READER) -> ImapClient:
        """An IMAP4 client that has logged in and selected INBOX."""
        client = await self.client(ImapClient, "imap")
        await client.login(user, PASSWORD)
        await client.command("SELECT INBOX")
        return client

    async def nntp(self) -> NntpClient:
        """A newsreader."""
        client = await self.client(NntpClient, "nntp")
        await client.login(READER, PASSWORD)
        return client

    async def send(self, octets: bytes, recipients: Sequence[str] = (f"{READER}@example.com",)) -> bytes:
        """Send a message by SMTP; the reply to it."""
        client = await self.client(SmtpClient, "smtp")
        await client.hello()
        return await client.send("sender@example.com", list(recipients), octets)

    # --- what can be seen ---------------------------------------------------------------------------------------------

    async def _ended(self, awaitable: Awaitable[Any]) -> asyncio.Future[Any] | None:
        """It, when it has ended within PATIENCE_SECONDS."""
        task = asyncio.ensure_future(awaitable)
        self._tasks.append(task)
        for _ in range(PATIENCE_STEPS * self._patience_factor):
            done, _ = await asyncio.wait([task], timeout=PATIENCE_SECONDS / PATIENCE_STEPS)
            if done:
                return task
        return None

    async def answers(self, awaitable: Awaitable[Any]) -> bool:
        """Whether it comes to an end (by success, a refusal or a lost connection) within PATIENCE_SECONDS."""
        task = await self._ended(awaitable)
        if task is not None:
            task.exception()
        return task is not None

    async def until(self, condition: Callable[[], bool]) -> bool:
        """Whether it becomes true within PATIENCE_SECONDS."""

        async def wait() -> None:
            # of a running server, which does not tell of every change
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(LOOK_EVERY_SECONDS)

        return await self.answers(wait())

    def octets_received(self) -> int:
        """What the IMAP4 sessions have received so far."""
        return sum(connection.octets_received for connection in self.server.front_ends["imap"].connections)

    async def can_read(self) -> bool:
        """Whether somebody who has nothing to do with it can still read a message that needs conversion."""
        store = self.server.store
        inbox = store.mailbox(OTHER).inbox
        if not inbox.messages:
            return False
        self.server.converter.forget_converted()

        async def read() -> None:
            client = await self.imap(OTHER)
            await client.fetch_body(1)

        task = await self._ended(read())
        return task is not None and task.exception() is None

    async def prepare_reader(self) -> None:
        """A message for `can_read`, put in before anything goes wrong."""
        server = self.server
        await server.converter.put(mail("for the other one", to=OTHER), [Target(server.store.mailbox(OTHER).inbox)])

    async def delivered(self) -> bool:
        """Whether everything that was accepted comes to a mailbox (or to BAD)."""
        return await self.answers(self.server.inbound.settled())

    def stopped(self) -> list[str]:
        """Services that do not run."""
        return [name for name in (IMC, IS) if self.server.states()[name] is not State.RUNNING]

    def owners(self) -> str:
        """Who holds which section, in words."""
        held = [f"{section.name}: {section.owner}" for section in self.server.sections if section.owner is not None]
        return ", ".join(held) or "no section is held"
