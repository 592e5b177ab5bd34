"""Seeded, bounded traffic over real sockets: senders, readers, posters, as they mix on a real server.

Every client draws what it does from a generator of its own, seeded from the seed of the run and its number, so that
the same seed sends the same commands. Bounded in clients and, by the caller, in time.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from emulator.server import Server

from .clients import ImapClient, NntpClient, Pop3Client, Refused, SmtpClient

CLIENTS = 16
USERS = tuple(f"user{number}" for number in range(8))
PASSWORD = "secret"  # noqa: S105 - of accounts that exist for the length of a run
GROUPS = ("misc.test", "comp.mail.imap")
MESSAGES_READ_MAX = 5


class Traffic:
    """`clients` connections that talk until they are stopped. `counts` tells what was done."""

    def __init__(self, server: Server, seed: int, *, clients: int = CLIENTS, seconds_max: float = 10.0) -> None:
        self._server = server
        self._seed = seed
        self._clients = clients
        self._seconds_max = seconds_max
        self.counts: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()
        self._number = 0

    async def run(self) -> None:
        """Talk for ever: cancel it, or let it end by the first client that gets no answer."""
        kinds = (self._send, self._pop3, self._imap, self._news)
        async with asyncio.TaskGroup() as group:
            for number in range(self._clients):
                draw = random.Random(f"{self._seed}/{number}")  # noqa: S311 - traffic, not secrets
                group.create_task(self._loop(kinds[number % len(kinds)], draw), name=f"client-{number}")

    async def _loop(self, talk: Callable[[random.Random], Awaitable[None]], draw: random.Random) -> None:
        while True:
            try:
                await talk(draw)
            except (OSError, Refused, asyncio.IncompleteReadError, TimeoutError) as error:
                if "[IN-USE]" in str(error):  # two POP3 clients drew the same user
                    continue
                self.problems[f"{talk.__name__.strip('_')}: {type(error).__name__} {error}"[:200]] += 1
                if isinstance(error, TimeoutError):
                    raise

    def _message(self, draw: random.Random, *, group: str = "") -> bytes:
        self._number += 1
        where = f"Newsgroups: {group}" if group else f"To: {draw.choice(USERS)}@mailjam.test"
        lines = draw.randrange(1, 40)
        body = "".join(f"{draw.getrandbits(200):x}\r\n" for _ in range(lines))
        return (
            f"From: Sender <sender@mailjam.test>\r\n{where}\r\nSubject: soak {self._number}\r\n"
            f"Message-ID: <{self._seed}.{self._number}@soak.test>\r\n"
            f"Date: Fri, 08 Dec 2000 10:00:00 +0000\r\n\r\n{body}"
        ).encode()

    async def _send(self, draw: random.Random) -> None:
        async with await SmtpClient.connect(self._server.addresses["smtp"], seconds_max=self._seconds_max) as client:
            await client.hello()
            for _ in range(draw.randrange(1, 10)):
                recipients = [f"{name}@mailjam.test" for name in draw.sample(USERS, draw.randrange(1, 4))]
                await client.send("sender@mailjam.test", recipients, self._message(draw))
                self.counts["smtp messages"] += 1

    async def _pop3(self, draw: random.Random) -> None:
        async with await Pop3Client.connect(self._server.addresses["pop3"], seconds_max=self._seconds_max) as client:
            await client.login(draw.choice(USERS), PASSWORD)
            count = int((await client.command("STAT")).split()[1])
            for number in range(max(1, count - MESSAGES_READ_MAX), count + 1):
                await client.retrieve(number)
                self.counts["pop3 retrievals"] += 1
            if count > 50 and draw.random() < 0.5:
                for number in range(1, 40):
                    await client.command(f"DELE {number}")
            await client.command("QUIT")

    async def _imap(self, draw: random.Random) -> None:
        async with await ImapClient.connect(self._server.addresses["imap"], seconds_max=self._seconds_max) as client:
            await client.login(draw.choice(USERS), PASSWORD)
            for _ in range(draw.randrange(1, 5)):
                if draw.random() < 0.3:
                    await client.append("INBOX", self._message(draw))
                    self.counts["imap appends"] += 1
                count = 0
                for response in await client.command("SELECT INBOX"):
                    if response.endswith(b" EXISTS"):
                        count = int(response.split()[1])
                for number in range(max(1, count - MESSAGES_READ_MAX), count + 1):
                    try:
                        await client.fetch_body(number)
                    except Refused:  # expunged by another client meanwhile
                        break
                    self.counts["imap fetches"] += 1

    async def _news(self, draw: random.Random) -> None:
        async with await NntpClient.connect(self._server.addresses["nntp"], seconds_max=self._seconds_max) as client:
            await client.login(draw.choice(USERS), PASSWORD)
            group = draw.choice(GROUPS)
            for _ in range(draw.randrange(1, 4)):
                await client.post(self._message(draw, group=group))
                self.counts["nntp posts"] += 1
            last = int((await client.command(f"GROUP {group}", 211)).split()[3])
            for number in range(max(1, last - MESSAGES_READ_MAX), last + 1):
                await client.article(str(number))
                self.counts["nntp articles"] += 1
