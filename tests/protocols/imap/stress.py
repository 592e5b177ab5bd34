"""A state-checking stress: raw clients that each keep the mailbox state which the RFC implies, and complain.

`run(port, seed, clients, seconds | commands)` drives one mailbox from many sessions. Every client checks each untagged
response against its own model: message numbers, EXISTS never shrinking but by EXPUNGE, no EXPUNGE during FETCH, STORE
and SEARCH, one UID for each number, ascending UIDs, no keyword that was not in FLAGS, literals of the right text.
The commands come from the seed; what the other sessions do in between depends on the event loop. `run_mixed` adds
clients that keep their state by extensions (live searches, NOTIFY, UIDONLY, QRESYNC) and compares it when all is quiet.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from protocols.imap.sequence import parse_set

_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
_FETCH = re.compile(rb"\* (\d+) FETCH \((.*)\)\r\n\Z", re.DOTALL)
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
_UID = re.compile(rb"(?<![A-Z])UID (\d+)")
_MODSEQ = re.compile(rb"MODSEQ \((\d+)\)")
_MARK = re.compile(rb"mark-(\d+)-")
_UPDATES = re.compile(rb"(ADDTO|REMOVEFROM) \(0 ([0-9:,]+)\)")
_ALL = re.compile(rb" ALL ([0-9:,]+)")
KEEPS_NUMBERS = (b"FETCH", b"STORE", b"SEARCH", b"SORT", b"THREAD")


@dataclass
class Complaints:
    """What contradicted the RFC."""

    found: list[str] = field(default_factory=list)
    commands: int = 0
    recent: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Which session, and which SELECT of it, was given a UID as \\Recent: no other may have it so."""

    def add(self, client: str, text: str) -> None:
        self.found.append(f"{client}: {text}")


class StressClient:
    """One session and its idea of the mailbox."""

    def __init__(self, name: str, seed: int, complaints: Complaints) -> None:
        self.name = name
        self.random = random.Random(seed)
        self.complaints = complaints
        self.tag = 0
        self.selected = False
        self.uids: list[int] = []
        """UID by number; 0: not known yet."""
        self.marks: dict[int, bytes] = {}
        self.modseqs: dict[int, int] = {}
        self.keywords: set[bytes] = set()
        """Of the last FLAGS response, in capitals."""
        self.uid_next = 1
        self.command = b""
        self.selections = 0

    async def connect(self, host: str, port: int, user: str) -> None:
        self.reader, self.writer = await asyncio.open_connection(host, port, limit=1 << 24)
        await self.response()
        await self.do(b"LOGIN %b secret" % user.encode())

    def complain(self, text: str) -> None:
        self.complaints.add(self.name, f"{text} (during {self.command[:80]!r}, {len(self.uids)} messages)")

    async def response(self) -> bytes:
        """One response line with its literals."""
        whole = b""
        while True:
            line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 30)
            whole += line
            match = _LITERAL.search(line)
            if match is None:
                return whole
            whole += await self.reader.readexactly(int(match[1]))

    async def do(self, command: bytes, *more: bytes) -> bytes:
        """Run commands (pipelined when several); the last tagged response."""
        tags = []
        for each in (command, *more):
            self.tag += 1
            tags.append((b"%b%d" % (self.name.encode(), self.tag), each))
        self.writer.write(b"".join([tag + b" " + each + b"\r\n" for tag, each in tags]))
        last = b""
        for tag, each in tags:
            self.command = each
            self.complaints.commands += 1
            while True:
                response = await self.response()
                if response.startswith(tag + b" "):
                    last = response[len(tag) + 1 :]
                    if last.startswith(b"BAD"):
                        self.complain(f"BAD: {last!r}")
                    break
                if response.startswith(b"* "):
                    self.untagged(response)
                else:
                    self.complain(f"neither tagged nor untagged: {response[:100]!r}")
        return last

    # --- checking -----------------------------------------------------------------------------------------------------

    def untagged(self, response: bytes) -> None:
        words = response.split(b" ", 3)
        if response.startswith(b"* OK [CLOSED]"):
            self.forget()  # what came before was still about the mailbox that is left
        elif words[1].isdigit():
            number, kind = int(words[1]), words[2].strip().upper()
            if not self.selected:
                self.complain(f"mailbox data while nothing is selected: {response[:80]!r}")
            elif kind == b"EXISTS":
                if number < len(self.uids):
                    self.complain(f"EXISTS shrank from {len(self.uids)} to {number}")
                self.uids += [0] * (number - len(self.uids))
                del self.uids[number:]
            elif kind == b"EXPUNGE":
                self.expunge(number)
            elif kind == b"FETCH":
                self.fetch(response)
            elif kind == b"RECENT" and number > len(self.uids):
                self.complain(f"RECENT {number} above EXISTS")
        elif response.startswith(b"* SEARCH") and not self.command.startswith(b"UID"):
            for text in response[8:].split():
                if not 1 <= int(text) <= len(self.uids):
                    self.complain(f"SEARCH gave {text!r}")
        elif response.startswith(b"* FLAGS ("):
            self.keywords = set(response[9:-3].upper().split())
        elif response.startswith(b"* BYE"):
            self.complain(f"{response!r}")

    def expunge(self, number: int) -> None:
        if self.command.startswith(KEEPS_NUMBERS):
            self.complain("EXPUNGE where none may be")
        if not 1 <= number <= len(self.uids):
            self.complain(f"EXPUNGE {number} beyond the mailbox")
            return
        del self.uids[number - 1]

    def fetch(self, response: bytes) -> None:
        match = _FETCH.match(response)
        if match is None:
            self.complain(f"not a FETCH: {response[:120]!r}")
            return
        number, data = int(match[1]), match[2]
        if not 1 <= number <= len(self.uids):
            self.complain(f"FETCH {number} beyond the mailbox")
            return
        head = data.split(b"{", 1)[0]
        found = _UID.search(head)
        if found:
            uid = int(found[1])
            known = self.uids[number - 1]
            if known and known != uid:
                self.complain(f"message {number} had UID {known}, now {uid}")
            self.uids[number - 1] = uid
            before = next((u for u in reversed(self.uids[: number - 1]) if u), 0)
            if before >= uid:
                self.complain(f"UID {uid} of message {number} is not above {before}")
        uid = self.uids[number - 1]
        flags = _FLAGS.search(head)
        if flags is not None:
            for flag in flags[1].split():
                if flag.startswith(b"\\") and flag not in (
                    b"\\Seen", b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Draft", b"\\Recent",
                ):  # fmt: skip
                    self.complain(f"flag {flag!r}")
                if not flag.startswith(b"\\") and flag.upper() not in self.keywords:
                    self.complain(f"{flag!r} was not in FLAGS")
            if uid and b"\\Recent" in flags[1]:
                mine = (self.name, self.selections)
                if self.complaints.recent.setdefault(uid, mine) != mine:
                    self.complain(f"UID {uid} is \\Recent, which it was in {self.complaints.recent[uid]}")
        modseq = _MODSEQ.search(data)
        if modseq and uid:
            if int(modseq[1]) < self.modseqs.get(uid, 0):
                self.complain(f"mod-sequence of UID {uid} went back")
            self.modseqs[uid] = int(modseq[1])
        mark = _MARK.search(data)
        if mark and uid:
            known_mark = self.marks.setdefault(uid, mark[1])
            if known_mark != mark[1]:
                self.complain(f"UID {uid} was message {known_mark!r}, now {mark[1]!r}")

    # --- commands -----------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Another mailbox is about to be described."""
        self.uids = []
        self.selections += 1

    async def select(self, name: bytes) -> None:
        if not self.selected:
            self.forget()
        self.selected = True
        result = await self.do(b"SELECT " + name)
        if not result.startswith(b"OK"):
            self.selected = False

    def numbers(self) -> bytes:
        """A random set of message numbers."""
        count = len(self.uids)
        first = self.random.randint(1, count)
        second = self.random.choice((first, self.random.randint(1, count), count))
        kind = self.random.random()
        if kind < 0.4:
            return b"%d" % first
        if kind < 0.8:
            return b"%d:%d" % (first, second)
        return b"%d,%d:*" % (first, second)

    async def step(self) -> None:
        """One random command."""
        pick = self.random.random()
        if not self.selected or pick < 0.01:
            await self.select(b"INBOX")
        elif pick < 0.15 or not self.uids:
            await self.append()
        elif pick < 0.35:
            items = self.random.choice(
                (b"FLAGS", b"(UID FLAGS)", b"(UID BODY.PEEK[])", b"BODY[]", b"(UID ENVELOPE)", b"(UID MODSEQ)")
            )
            await self.do(b"FETCH %b %b" % (self.numbers(), items))
        elif pick < 0.45:
            await self.do(b"UID FETCH %d:* (FLAGS BODYSTRUCTURE)" % self.random.randint(1, 500))
        elif pick < 0.62:
            await self.store()
        elif pick < 0.72:
            keys = self.random.choice(
                (b"ALL", b"SEEN", b"SUBJECT mark", b"NOT DELETED TEXT mark", b"UID 1:*", b"RECENT")
            )
            await self.do(b"SEARCH " + keys)
        elif pick < 0.80:
            await self.do(b"EXPUNGE")
        elif pick < 0.85:
            await self.do(b"COPY %b %b" % (self.numbers(), self.random.choice((b"INBOX", b"Sent"))))
        elif pick < 0.88:
            await self.do(b"UID MOVE %d Trash" % (self.random.choice([u for u in self.uids if u] or [1])))
        elif pick < 0.92:
            await self.do(b"NOOP", b"UID SEARCH ALL", b"CHECK")
        elif pick < 0.94:
            await self.do(b"SORT (REVERSE DATE) UTF-8 ALL")
        elif pick < 0.96:
            await self.idle()
        elif pick < 0.97:
            await self.do(b"CLOSE")
            self.selected, self.uids = False, []
        elif pick < 0.98:
            await self.do(b"UNSELECT")
            self.selected, self.uids = False, []
        else:
            await self.do(b"STATUS INBOX (MESSAGES UIDNEXT UNSEEN)")

    async def append(self) -> None:
        mark = self.random.randrange(10**9)
        text = b"Subject: mark-%d-\r\n\r\n%b\r\n" % (mark, b"x" * self.random.randrange(2000))
        await self.do(b"APPEND INBOX {%d+}\r\n%b" % (len(text), text))

    async def store(self) -> None:
        flag = self.random.choice(
            (b"\\Seen", b"\\Deleted", b"\\Deleted", b"\\Flagged", b"$kw%d" % self.random.randrange(4))
        )
        mode = self.random.choice((b"+FLAGS", b"-FLAGS", b"+FLAGS.SILENT"))
        await self.do(b"STORE %b %b (%b)" % (self.numbers(), mode, flag))

    async def idle(self) -> None:
        self.tag += 1
        tag = b"%b%d" % (self.name.encode(), self.tag)
        self.command = b"IDLE"
        self.writer.write(tag + b" IDLE\r\n")
        while not (response := await self.response()).startswith(b"+"):
            self.untagged(response)
        self.writer.write(b"DONE\r\n")
        while not (response := await self.response()).startswith(tag):
            self.untagged(response)

    async def logout(self) -> None:
        self.selected = False
        self.writer.write(b"zz LOGOUT\r\n")
        await asyncio.wait_for(self.reader.read(), 30)
        self.writer.close()


async def run(host: str, port: int, *, seed: int, clients: int, commands: int, user: str = "alice") -> Complaints:
    """`clients` sessions, each with `commands` random commands; what they had to complain of."""
    complaints = Complaints()

    async def one(index: int) -> None:
        client = StressClient(f"c{index}", seed * 1000 + index, complaints)
        await client.connect(host, port, user)
        for _ in range(commands):
            await client.step()
        await client.logout()

    async with asyncio.TaskGroup() as group:
        for index in range(clients):
            group.create_task(one(index))
    return complaints


class ResyncClient(StressClient):
    """A client that comes and goes, and keeps its copy of the mailbox up to date by QRESYNC alone (RFC 7162)."""

    def __init__(self, name: str, complaints: Complaints) -> None:
        super().__init__(name, 0, complaints)
        self.flags: dict[int, frozenset[bytes]] = {}
        self.uid_validity = 0
        self.modseq = 0

    def untagged(self, response: bytes) -> None:
        found = re.search(rb"\[(UIDVALIDITY|HIGHESTMODSEQ) (\d+)\]", response)
        if found and found[1] == b"UIDVALIDITY":
            self.uid_validity = int(found[2])
        elif found:
            self.opened_at = int(found[2])
        elif response.startswith(b"* VANISHED"):
            for item in response.split()[-1].split(b","):
                low, _, high = item.partition(b":")
                for uid in range(int(low), int(high or low) + 1):
                    self.flags.pop(uid, None)
        elif b" FETCH (" in response:
            uid, flags = _UID.search(response), _FLAGS.search(response)
            if uid and flags:
                self.flags[int(uid[1])] = frozenset(flag for flag in flags[1].split() if flag != b"\\Recent")

    async def visit(self, host: str, port: int, user: str) -> None:
        """Connect, catch up, leave."""
        await self.connect(host, port, user)
        await self.do(b"ENABLE QRESYNC")
        if self.uid_validity:
            await self.do(b"SELECT INBOX (QRESYNC (%d %d))" % (self.uid_validity, self.modseq))
        else:
            await self.do(b"SELECT INBOX")
            await self.do(b"UID FETCH 1:* (FLAGS)")
        self.modseq = self.opened_at
        await self.logout()

    async def compare(self, host: str, port: int, user: str) -> None:
        """In a quiet mailbox: catch up once more, then complain of any difference from what is really there."""
        await self.visit(host, port, user)
        mine, self.flags = self.flags, {}
        await self.connect(host, port, user)
        await self.do(b"ENABLE QRESYNC")
        await self.do(b"SELECT INBOX")
        await self.do(b"UID FETCH 1:* (FLAGS)")
        if mine != self.flags:
            different = sorted(uid for uid in mine.keys() | self.flags.keys() if mine.get(uid) != self.flags.get(uid))
            self.complain(f"resynchronized state differs for UIDs {different[:10]}")
        await self.logout()


async def run_with_resync(host: str, port: int, *, seed: int, clients: int, commands: int) -> Complaints:
    """`run`, while another client comes and goes; at the end its copy has to be right."""
    complaints = Complaints()
    client = ResyncClient("q", complaints)
    traffic = asyncio.ensure_future(run(host, port, seed=seed, clients=clients, commands=commands))
    while not traffic.done():
        await client.visit(host, port, "alice")
    found = await traffic
    await client.compare(host, port, "alice")
    found.found += complaints.found
    found.commands += complaints.commands
    return found


# --- by extensions ----------------------------------------------------------------------------------------------------


def numbers_of(text: bytes) -> Iterator[int]:
    """The numbers of a sequence set."""
    for low, high in parse_set(text):
        yield from range(low, high + 1)


class LiveSearchClient(StressClient):
    """Works as any other, and follows `UID SEARCH RETURN (UPDATE ALL) FLAGGED` by ADDTO and REMOVEFROM (RFC 5267)."""

    KEY = b"FLAGGED"

    def __init__(self, name: str, seed: int, complaints: Complaints) -> None:
        super().__init__(name, seed, complaints)
        self.found: set[int] = set()
        self.live = b""

    def untagged(self, response: bytes) -> None:
        if response.startswith(b"* ESEARCH") and self.live and b'"%b"' % self.live in response:
            whole = _ALL.search(response)
            if whole:
                self.found.update(numbers_of(whole[1]))
            for word, numbers in _UPDATES.findall(response):
                for uid in numbers_of(numbers):
                    if (uid in self.found) == (word == b"ADDTO"):
                        self.complain(f"{word!r} of UID {uid}, which was {'there' if uid in self.found else 'not'}")
                    (self.found.add if word == b"ADDTO" else self.found.discard)(uid)
            return
        super().untagged(response)

    def forget(self) -> None:
        super().forget()
        self.found, self.live = set(), b""

    async def select(self, name: bytes) -> None:
        await super().select(name)
        if self.selected:
            self.live = b"%b%d" % (self.name.encode(), self.tag + 1)
            await self.do(b"UID SEARCH RETURN (UPDATE ALL) " + self.KEY)

    async def step(self) -> None:
        await super().step()
        if not self.selected:
            self.found, self.live = set(), b""

    async def compare(self) -> None:
        """In a quiet mailbox: the live result is what a new search finds, the count what is there."""
        if not self.selected:
            await self.select(b"INBOX")
        await self.do(b"NOOP")
        mine, self.live = self.found, b""
        self.compared: set[int] = set()
        await self.collect(b"UID SEARCH " + self.KEY, self.compared)
        if mine != self.compared:
            self.complain(f"the live search differs for UIDs {sorted(mine ^ self.compared)[:10]}")
        there: set[int] = set()
        await self.collect(b"UID SEARCH ALL", there)
        if len(there) != len(self.uids):
            self.complain(f"{len(there)} messages are there, {len(self.uids)} are known")

    async def collect(self, command: bytes, into: set[int]) -> None:
        """Run a search and gather what it finds."""
        self.tag += 1
        tag = b"%b%d" % (self.name.encode(), self.tag)
        self.command = command
        self.writer.write(tag + b" " + command + b"\r\n")
        while not (response := await self.response()).startswith(tag + b" "):
            if response.startswith(b"* SEARCH"):
                into.update(map(int, response[8:].split()))
            else:
                self.untagged(response)


class NotifyClient(LiveSearchClient):
    """Is told at any time, expunges apart: SELECTED-DELAYED (RFC 5465). Numbers stay right between commands."""

    async def select(self, name: bytes) -> None:
        if not self.selected:
            await self.do(
                b"NOTIFY SET (selected-delayed (MessageNew (UID FLAGS) MessageExpunge FlagChange))"
                b" (mailboxes (Sent Trash) (MessageNew MessageExpunge))"
            )
        await super().select(name)


class UidOnlyClient(StressClient):
    """Knows UIDs alone (RFC 9586): no number may come, what has vanished stays away, EXISTS counts what is left."""

    def __init__(self, name: str, seed: int, complaints: Complaints) -> None:
        super().__init__(name, seed, complaints)
        self.gone: set[int] = set()
        self.known: set[int] = set()
        self.count = 0

    def untagged(self, response: bytes) -> None:
        words = response.split(b" ", 3)
        kind = words[2].strip() if len(words) > 2 else b""
        if response.startswith(b"* OK [CLOSED]"):
            self.forget()
        elif words[1] == b"VANISHED":
            uids = set(numbers_of(words[2].strip()))
            if uids & self.gone:
                self.complain(f"UIDs {sorted(uids & self.gone)[:5]} vanished twice")
            self.gone |= uids
            self.known -= uids
            self.count -= len(uids)
        elif kind == b"EXISTS":
            if int(words[1]) < self.count:
                self.complain(f"EXISTS shrank from {self.count} to {int(words[1])}")
            self.count = int(words[1])
        elif kind == b"UIDFETCH":
            uid = int(words[1])
            if uid in self.gone:
                self.complain(f"UID {uid} is back")
            self.known.add(uid)
        elif kind in (b"FETCH", b"EXPUNGE") or response.startswith(b"* OK [UNSEEN"):
            self.complain(f"a message number: {response[:80]!r}")

    def forget(self) -> None:
        super().forget()
        self.gone, self.known, self.count = set(), set(), 0

    async def step(self) -> None:
        pick = self.random.random()
        uid = self.random.choice(sorted(self.known) or [1])
        if not self.selected or pick < 0.02:
            await self.do(b"ENABLE UIDONLY")
            await self.select(b"INBOX")
        elif pick < 0.4:
            await self.do(b"UID FETCH %d:* (FLAGS RFC822.SIZE)" % uid)
        elif pick < 0.5:
            await self.append()
        elif pick < 0.7:
            flag = self.random.choice((b"\\Deleted", b"\\Flagged", b"\\Seen"))
            await self.do(b"UID STORE %d:%d %bFLAGS (%b)" % (uid, uid + 3, self.random.choice((b"+", b"-")), flag))
        elif pick < 0.8:
            await self.do(b"UID EXPUNGE 1:*")
        elif pick < 0.85:
            await self.do(b"UID MOVE %d Trash" % uid)
        elif pick < 0.9:
            await self.do(b"UID SEARCH UNDELETED", b"NOOP")
        else:
            await self.idle()

    async def compare(self) -> None:
        """In a quiet mailbox: what is known and has not vanished is what is there."""
        if not self.selected:
            return
        await self.do(b"NOOP")
        before, self.known = self.known, set()
        await self.do(b"UID FETCH 1:* (FLAGS)")
        if not before <= self.known:
            self.complain(f"UIDs {sorted(before - self.known)[:10]} are gone and were not told")
        if len(self.known) != self.count:
            self.complain(f"{len(self.known)} messages are there, EXISTS says {self.count}")


KINDS: tuple[type[StressClient], ...] = (StressClient, LiveSearchClient, NotifyClient, UidOnlyClient)


async def run_mixed(
    host: str, port: int, *, seed: int, clients: int, commands: int = 0, seconds: float = 0.0, user: str = "alice"
) -> Complaints:
    """Sessions of all kinds, and one that resynchronizes: so many commands each, or for so long."""
    complaints = Complaints()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    everyone = [KINDS[n % len(KINDS)](f"c{n}", seed * 1000 + n, complaints) for n in range(clients)]

    async def one(client: StressClient) -> None:
        await client.connect(host, port, user)
        done = 0
        while done < commands or loop.time() < end:
            await client.step()
            done += 1

    visitor = ResyncClient("q", complaints)
    traffic = asyncio.gather(*(one(client) for client in everyone))
    while not traffic.done():
        await visitor.visit(host, port, user)
    await traffic
    for client in everyone:
        if isinstance(client, LiveSearchClient | UidOnlyClient):
            await client.compare()
    await visitor.compare(host, port, user)
    for client in everyone:
        await client.logout()
    return complaints
