"""Every verb with every protocol, seen from a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from emulator.server import Server
from harness.faults import Fault
from harness.faults.engine import ActiveFault
from harness.testing.clock import AdvancingClock
from harness.workbench import Workbench
from protocols.ports import Target

MESSAGE = b"From: a@example.org\r\nTo: alice@example.com\r\nSubject: abcdefgh\r\n\r\nabcdefghijklmnopqrstuvwxyz\r\n"
PROTOCOLS = ("smtp", "pop3", "imap", "nntp")
OPENING = {
    "smtp": [b"EHLO x"],
    "pop3": [b"USER alice", b"PASS secret"],
    "imap": [b"a LOGIN alice secret", b"b SELECT INBOX"],
    "nntp": [b"GROUP misc.test"],
}
READING = {"smtp": b"HELP", "pop3": b"RETR 1", "imap": b"c FETCH 1 BODY.PEEK[]", "nntp": b"ARTICLE 1"}
VERB = {"smtp": "HELP", "pop3": "RETR", "imap": "FETCH", "nntp": "ARTICLE"}


class Peer:
    """A client that sees octets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.all = b""

    def say(self, line: bytes) -> None:
        self.writer.write(line + b"\r\n")

    async def until(self, mark: bytes) -> bytes:
        """All octets up to `mark`."""
        async with asyncio.timeout(5):
            octets = await self.reader.readuntil(mark)
        self.all += octets
        return octets

    async def line(self) -> bytes:
        return await self.until(b"\r\n")

    async def to_the_end(self) -> bytes:
        async with asyncio.timeout(5):
            octets = await self.reader.read(-1)
        self.all += octets
        return octets

    async def silence(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await self.reader.readexactly(1)


class Bench:
    def __init__(self, server: Server, clock: AdvancingClock) -> None:
        self.server = server
        self.clock = clock
        self.workbench = Workbench.of(server)
        self.peers: list[Peer] = []

    def add(self, line: str) -> ActiveFault:
        return self.workbench.faults.add(line)

    async def peer(self, protocol: str) -> Peer:
        """A client that is ready to read a message."""
        peer = Peer(*await asyncio.open_connection(*self.server.addresses[protocol]))
        self.peers.append(peer)
        await peer.line()
        for line in OPENING[protocol]:
            peer.say(line)
            await self.answer(peer, protocol, line)
        return peer

    async def answer(self, peer: Peer, protocol: str, line: bytes) -> bytes:
        """The whole reply to a line."""
        if protocol == "imap":
            return await peer.until(b"\r\n" if line.startswith(b"!") else line[:2] + b"OK") + await peer.line()
        if protocol == "smtp":
            octets = b""
            while True:
                one = await peer.line()
                octets += one
                if one[3:4] == b" ":
                    return octets
        first = await peer.line()
        if line.split()[0] in (b"RETR", b"ARTICLE") and first[:1] in b"+2":
            return first + await peer.until(b"\r\n.\r\n")
        return first

    async def read(self, peer: Peer, protocol: str) -> bytes:
        peer.say(READING[protocol])
        return await self.answer(peer, protocol, READING[protocol])


@pytest.fixture
async def bench(start_server: Callable[..., Awaitable[Server]], monkeypatch: Any) -> AsyncIterator[Bench]:
    clock = AdvancingClock()
    monkeypatch.setattr("emulator.server.AsyncioClock", lambda: clock)
    server = await start_server(users=["alice:secret"], groups=["misc.test"])
    mailbox = await server.directory.recipient("alice")
    await server.converter.put(MESSAGE, [Target(mailbox.inbox), Target(server.store.newsgroups["misc.test"])])
    made = Bench(server, clock)
    yield made
    made.workbench.faults.clear()
    made.workbench.close_gates()
    for peer in made.peers:
        peer.writer.close()
        await asyncio.gather(peer.writer.wait_closed(), return_exceptions=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test with every protocol, or with those that it says it is for."""
    if "protocol" in metafunc.fixturenames:
        metafunc.parametrize("protocol", getattr(metafunc.function, "protocols", PROTOCOLS))


def only(*protocols: str) -> Callable[[Any], Any]:
    """Mark a test that makes sense in some protocols alone."""

    def mark(function: Any) -> Any:
        function.protocols = protocols
        return function

    return mark


async def test_delay(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    bench.add(f"delay protocol={protocol} command={VERB[protocol]} seconds=100")
    peer.say(READING[protocol])
    await peer.silence()
    await bench.clock.advance(101)
    await bench.answer(peer, protocol, READING[protocol])


async def test_hang_until_released(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    fault = bench.add(f"hang protocol={protocol} command={VERB[protocol]} stage=reply")
    peer.say(READING[protocol])
    await peer.silence()
    assert fault.holding == 1
    fault.release()
    await bench.answer(peer, protocol, READING[protocol])


@pytest.mark.parametrize("stage", ["command", "reply"])
async def test_error_then_healed(bench: Bench, protocol: str, stage: str) -> None:
    peer = await bench.peer(protocol)
    bench.add(f"error protocol={protocol} command={VERB[protocol]} stage={stage}")
    peer.say(READING[protocol])
    expected = {"smtp": b"451 4.3.0", "pop3": b"-ERR [SYS/TEMP]", "imap": b"c NO [UNAVAILABLE]", "nntp": b"403 "}
    if protocol == "imap" and stage == "reply":  # what is untagged has been sent by then
        await peer.until(b"\r\n)\r\n")
    assert (await peer.line()).startswith(expected[protocol])
    await bench.read(peer, protocol)


async def test_a_text_without_a_code_is_given_one(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    bench.add(f"error protocol={protocol} command={VERB[protocol]} text='come back later'")
    peer.say(READING[protocol])
    expected = {"smtp": b"451 ", "pop3": b"-ERR ", "imap": b"c NO ", "nntp": b"403 "}
    assert await peer.line() == expected[protocol] + b"come back later\r\n"


async def test_the_nth_of_a_user_only(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    user = "" if protocol in ("smtp", "nntp") else "alice"
    bench.add(f"error protocol={protocol} command={VERB[protocol]} user='{user}' nth=2")
    other = bench.add(f"error protocol={protocol} command={VERB[protocol]} user=bob")
    await bench.read(peer, protocol)
    peer.say(READING[protocol])
    assert b"fault script" in await peer.line()
    await bench.read(peer, protocol)
    assert other.seen == 0


async def test_throttle(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    bench.add(f"throttle protocol={protocol} command={VERB[protocol]} bytes_per_second=20")
    peer.say(READING[protocol])
    await asyncio.sleep(0.05)
    assert len(await peer.reader.read(1000)) < 5
    await bench.clock.advance(60)
    peer.say(b"NOOP" if protocol in ("smtp", "pop3") else b"d NOOP" if protocol == "imap" else b"DATE")
    await peer.until({"smtp": b"250 2.0.0", "pop3": b".\r\n+OK", "imap": b"d OK", "nntp": b"111 "}[protocol])


async def test_trickle_is_whole_at_last(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    whole = await bench.read(peer, protocol)
    bench.add(f"trickle protocol={protocol} command={VERB[protocol]}")
    assert await bench.read(peer, protocol) == whole


@pytest.mark.parametrize("stage", ["command", "reply"])
async def test_disconnect(bench: Bench, protocol: str, stage: str) -> None:
    peer = await bench.peer(protocol)
    bench.add(f"disconnect protocol={protocol} command={VERB[protocol]} stage={stage}")
    peer.say(READING[protocol])
    assert bool(await peer.to_the_end()) is (stage == "reply")


async def test_reset(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    bench.add(f"reset protocol={protocol} command={VERB[protocol]}")
    peer.say(READING[protocol])
    with pytest.raises(ConnectionResetError):
        await peer.to_the_end()


async def test_half_close(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    bench.add(f"half-close protocol={protocol} command={VERB[protocol]}")
    peer.say(READING[protocol])
    assert await peer.to_the_end()
    peer.say(b"QUIT")


async def test_stalled_handshake(bench: Bench, protocol: str) -> None:
    bench.add(f"stall-tls protocol={protocol} command=ST*LS")
    peer = await bench.peer(protocol) if protocol in ("smtp", "nntp") else None
    if peer is None:
        peer = Peer(*await asyncio.open_connection(*bench.server.addresses[protocol]))
        bench.peers.append(peer)
        await peer.line()
    peer.say({"smtp": b"STARTTLS", "pop3": b"STLS", "imap": b"a STARTTLS", "nntp": b"STARTTLS"}[protocol])
    assert (await peer.line())[:4] in (b"220 ", b"+OK ", b"a OK", b"382 ")
    peer.writer.write(b"\x16\x03\x01\x00\x05hello")
    await peer.silence()


async def test_truncate(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    whole = await bench.read(peer, protocol)
    bench.add(f"truncate protocol={protocol} command={VERB[protocol]} octets=5")
    peer.say(READING[protocol])
    got = await peer.to_the_end()
    assert whole.startswith(got)
    assert got[-5:] == (b"From:" if protocol in ("imap", "pop3") else got[-5:])
    assert len(got) < len(whole)


async def test_lose_the_reply(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    bench.add(f"lose-reply protocol={protocol} command={VERB[protocol]}")
    peer.say(READING[protocol])
    assert await peer.to_the_end() == b""


async def test_duplicate_reply(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    whole = await bench.read(peer, protocol)
    bench.add(f"duplicate protocol={protocol} command={VERB[protocol]}")
    assert await bench.read(peer, protocol) == whole
    assert await bench.answer(peer, protocol, READING[protocol]) == whole


async def test_corrupt_keeps_the_frame(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    whole = await bench.read(peer, protocol)
    bench.add(f"corrupt protocol={protocol} command={VERB[protocol]} octets=3 seed=7")
    got = await bench.read(peer, protocol)
    assert len(got) == len(whole)
    assert sum(one != other for one, other in zip(got, whole, strict=True)) == 3


async def test_jam_holds_conversions(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    bench.server.converter.forget_converted()
    fault = bench.add(f"jam protocol={protocol} command={VERB[protocol]} section=imail")
    peer.say(READING[protocol])
    if protocol == "smtp":  # its own commands convert nothing: the next message waits
        await bench.answer(peer, protocol, b"HELP")
    else:
        await peer.silence()
    assert bench.server.sections["imail"].owner is not None
    fault.release()
    if protocol != "smtp":
        await bench.answer(peer, protocol, READING[protocol])


async def _store(bench: Bench, peer: Peer, protocol: str) -> bytes:
    """Store a message: the final reply."""
    if protocol == "smtp":
        for line in (b"MAIL FROM:<a@example.org>", b"RCPT TO:<bob@example.com>", b"DATA"):
            peer.say(line)
            await peer.line()
        peer.writer.write(MESSAGE + b".\r\n")
        return await peer.line()
    if protocol == "imap":
        peer.writer.write(b"z APPEND Sent {%d}\r\n" % len(MESSAGE))
        await peer.until(b"+ ")
        await peer.line()
        peer.writer.write(MESSAGE + b"\r\n")
        return await peer.until(b"z ") + await peer.line()
    peer.say(b"POST")
    await peer.line()
    peer.writer.write(b"Newsgroups: misc.test\r\n" + MESSAGE + b".\r\n")
    return await peer.line()


def _stored(bench: Bench, protocol: str) -> int:
    store = bench.server.store
    if protocol == "smtp":
        return len(store.mailboxes["bob@example.com"].inbox.messages)
    if protocol == "imap":
        return len(store.mailboxes["alice"].folders["Sent"].messages)
    return len(store.newsgroups["misc.test"].messages) - 1


@only("smtp", "imap", "nntp")  # POP3 stores nothing
async def test_duplicate_and_error_at_store(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    bench.add(f"error protocol={protocol} stage=store message='*Subject: abc*' text=full")
    bench.add(f"duplicate protocol={protocol} stage=store")
    assert b"full" in await _store(bench, peer, protocol)
    await _store(bench, peer, protocol)
    await bench.server.inbound.settled()
    assert _stored(bench, protocol) == 2


@only("smtp", "imap", "nntp")  # POP3 stores nothing
async def test_a_lost_reply_comes_after_the_commit(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    command = {"smtp": "DATA", "imap": "APPEND", "nntp": "POST"}[protocol]
    bench.add(f"lose-reply protocol={protocol} command={command}")
    with pytest.raises(asyncio.IncompleteReadError):
        await _store(bench, peer, protocol)
    await bench.server.inbound.settled()
    assert _stored(bench, protocol) == 1


async def test_drop_untagged(bench: Bench) -> None:
    peer = await bench.peer("imap")
    bench.add("drop-untagged protocol=imap command=FETCH text='* FETCH *'")
    peer.say(b"c FETCH 1 (FLAGS BODY[])")
    assert (await peer.line()).startswith(b"c OK")


@only("pop3", "imap", "nntp")  # a session of SMTP passes no conversion point
async def test_hang_at_a_point(bench: Bench, protocol: str) -> None:
    peer = await bench.peer(protocol)
    bench.server.converter.forget_converted()
    fault = bench.add(f"hang protocol={protocol} command={VERB[protocol]} stage=outbound.read")
    peer.say(READING[protocol])
    await peer.silence()
    assert fault.holding == 1
    fault.release()
    await bench.answer(peer, protocol, READING[protocol])


async def test_a_recording_replays_the_same_dialogue(bench: Bench, protocol: str) -> None:
    faults = bench.workbench.faults
    bench.add(f"error protocol={protocol} command={VERB[protocol]} one_in=3 seed=11 times=0")
    first = [await _one_dialogue(bench, protocol) for _ in range(3)]
    recorded = faults.recorded()
    assert recorded, "the seed strikes"
    faults.clear()
    faults.load(recorded)
    assert [await _one_dialogue(bench, protocol) for _ in range(3)] == first
    assert not faults.unused()


async def _one_dialogue(bench: Bench, protocol: str) -> list[bytes]:
    peer = await bench.peer(protocol)
    answers = []
    for _ in range(6):
        peer.say(READING[protocol])
        line = await peer.line()
        if b"fault script" not in line and protocol != "imap":
            rest = {"smtp": b"\r\n214 ", "pop3": b"\r\n.\r\n", "nntp": b"\r\n.\r\n"}[protocol]
            if not (protocol == "smtp" and line[3:4] == b" "):
                await peer.until(rest)
                if protocol == "smtp":
                    await peer.line()
        elif protocol == "imap" and line.startswith(b"* "):
            await peer.until(b"c OK")
            await peer.line()
        answers.append(line)
    peer.writer.close()
    await asyncio.gather(peer.writer.wait_closed(), return_exceptions=True)
    return answers


def test_faults_as_objects(protocol: str) -> None:
    assert str(Fault("error", protocol=protocol)) == f"error protocol={protocol}"
