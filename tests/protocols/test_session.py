"""The control loop, with a protocol of three commands and a connection in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from emulator.events import Bus
from emulator.scheduling import AsyncioClock
from protocols.ports import ConnectionLost, DeadlinePassed, NotPermitted, PortError, Services, SessionClosed
from protocols.reader import Buffer, InputTooLong
from protocols.registry import Command, Registry, SyntaxProblem
from protocols.reply import Reply
from protocols.session import Session
from protocols.settings import FrontEndSettings, Limits

commands: Registry[Toy] = Registry()


class Memory:
    """A connection: what the peer sends comes from a script, what is written is kept, batch by batch."""

    tls = tls_available = compressed = False
    peer = "memory"

    def __init__(self, *script: bytes | type[Exception]) -> None:
        self.buffer = Buffer()
        self.script = deque(script)
        self.written: list[bytes] = []
        self.closed = False

    def write(self, pieces: Sequence[bytes]) -> None:
        self.written.append(b"".join(pieces))

    async def drain(self) -> None:
        pass

    async def more(self, seconds_max: float | None) -> bool:
        if not self.script:
            return False
        item = self.script.popleft()
        if isinstance(item, bytes):
            self.buffer.feed(item)
            return True
        raise item

    def poke(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Toy(Session[Any]):
    protocol = "toy"
    commands = commands

    def greeting(self) -> Reply:
        self.state = "open"
        return b"hello\r\n"

    def next_input(self) -> bytes | None:
        return self.connection.buffer.line(20)

    async def handle_input(self, item: bytes) -> None:
        verb, _, rest = item.partition(b" ")
        await self.execute(verb, rest)

    def unknown_command(self, verb: bytes) -> Reply:
        return b"unknown\r\n"

    def wrong_state(self, command: Command[Any]) -> Reply:
        return b"not now\r\n"

    def bad_syntax(self, command: Command[Any], problem: SyntaxProblem) -> Reply:
        return f"syntax: {problem}\r\n".encode()

    def failure(self, command: Command[Any], error: PortError) -> Reply:
        return f"failed: {error}\r\n".encode()

    def too_long(self, problem: InputTooLong) -> Reply:
        return b"too long\r\n"

    def farewell(self, why: str) -> Reply:
        return f"bye: {why}\r\n".encode()


@commands.command("ECHO", states={"open"}, syntax=bytes)
async def echo(session: Toy, rest: bytes) -> Reply:
    return (rest, b"\r\n")


@commands.command("LATER", states={"never"})
async def later(session: Toy, arguments: None) -> Reply:
    return b"?"


@commands.command("FAIL", states={"open"}, capability="FAILING")
async def fail(session: Toy, arguments: None) -> Reply:
    raise NotPermitted("no")


@commands.command("QUIT", states={"open"})
async def leave(session: Toy, arguments: None) -> Reply:
    session.end("logout")
    return b"bye\r\n"


async def talk(*script: bytes | type[Exception], **settings: Any) -> tuple[Memory, Toy, list[SessionClosed]]:
    bus, closed = Bus(), []
    bus.on(SessionClosed, closed.append)
    front_end = FrontEndSettings(limits=Limits(bad_commands_max=3), **settings)
    services = Services(*[None] * 4, AsyncioClock(), bus, front_end)  # type: ignore[arg-type, list-item]
    memory = Memory(*script)
    session = Toy(memory, services)  # type: ignore[arg-type]
    await session.run()
    return memory, session, closed


async def test_one_write_for_a_batch_of_commands() -> None:
    memory, _, closed = await talk(b"ECHO a\r\nECHO b\r\necho c\r\nQUIT\r\nECHO late\r\n")
    assert memory.written == [b"hello\r\n", b"a\r\nb\r\nc\r\nbye\r\n"]
    assert memory.closed
    assert (closed[0].how, closed[0].commands) == ("logout", 4)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"NOPE", b"unknown\r\n"),
        (b"LATER", b"not now\r\n"),
        (b"QUIT now", b"syntax: no arguments are allowed here\r\n"),
        (b"FAIL", b"failed: no\r\n"),
        (b"ECHO " + b"x" * 100, b"too long\r\n"),
    ],
)
async def test_every_mistake_has_its_answer_and_the_dialogue_goes_on(line: bytes, answer: bytes) -> None:
    memory, _, _ = await talk(line + b"\r\nECHO on\r\n")
    assert memory.written[1] == answer + b"on\r\n"


async def test_a_hidden_capability_hides_its_command() -> None:
    memory, _, _ = await talk(b"FAIL\r\n", capabilities_hidden=frozenset({"FAILING"}))
    assert memory.written[1] == b"unknown\r\n"


async def test_too_many_mistakes_in_a_row_close() -> None:
    memory, _, closed = await talk(b"A\r\nB\r\nECHO x\r\nC\r\nD\r\nE\r\nF\r\n")
    assert memory.written[1] == b"unknown\r\nunknown\r\nx\r\nunknown\r\nunknown\r\nunknown\r\nbye: too many errors\r\n"
    assert closed[0].how == "too many errors"


async def test_a_deadline_says_goodbye() -> None:
    memory, _, closed = await talk(DeadlinePassed)
    assert memory.written[-1] == b"bye: deadline\r\n"
    assert closed[0].how == "deadline"


async def test_a_vanished_peer_ends_the_session_quietly() -> None:
    _, _, closed = await talk(b"ECHO a\r\n", ConnectionLost)
    assert closed[0].how == "peer vanished"
    _, _, closed = await talk(b"ECHO a\r\n")
    assert closed[0].how == "peer closed"
