r"""Protocol dialogues that read as dialogues: the C:/S: files of the tests, run over real sockets.

    == LOGIN is refused in the authenticated state [RFC 3501 section 6.2.3]
    @ imap
    @ user alice:secret
    S~ \* OK .*
    C: a LOGIN alice secret
    S: a OK LOGIN completed

A file is a list of cases; a case begins with `==` and its title, which names the RFC section. Lines:

    @ KEY VALUE   what the case needs: `@ imap` (the protocol), `@ user NAME:PASSWORD`, `@ token NAME:TOKEN`,
                  `@ group NAME`, `@ set FIELD VALUE` (settings), `@ message MAILBOX` followed by `| ` lines (a
                  message that is there)
    C: text       the client sends the line and CRLF            C< text   octets with Python escapes, no CRLF
    S: text       the server's next line is this                S~ regex  the server's next line matches as a whole
    S* regex      lines are passed over until one matches       S! closed the server closes the connection
    C! close      the client closes; `C! eof` half-closes       C2: S2:   a second connection (up to 9)
    # text        a comment

Each line that comes is compared at once; a case fails with the dialogue so far and the difference.
"""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r"([CS])([1-9]?)([:<~*!]) ?(.*)", re.DOTALL)


class DialogueError(AssertionError):
    """The server said something else; the text is the dialogue and the difference."""


@dataclass(slots=True)
class Step:
    """One line of a case."""

    line_number: int
    side: str
    connection: int
    kind: str
    text: str


@dataclass(slots=True)
class Case:
    """One dialogue and what it needs."""

    title: str
    where: str
    """FILE:LINE of its title."""
    needs: list[tuple[str, str]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.where} {self.title}"

    def values(self, key: str) -> list[str]:
        """All values of `@ KEY VALUE` lines."""
        return [value for name, value in self.needs if name == key]


def parse_cases(text: str, name: str) -> list[Case]:
    """The cases of a file. Raises ValueError with file and line for a line that is none of the known kinds."""
    cases: list[Case] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("=="):
            cases.append(Case(line[2:].strip(), f"{name}:{number}"))
            continue
        if not line.strip() or line.startswith("#"):
            continue
        if not cases:
            raise ValueError(f"{name}:{number}: a case begins with ==")
        if line.startswith("@"):
            key, _, value = line[1:].strip().partition(" ")
            cases[-1].needs.append((key, value.strip()))
        elif line.startswith("|"):
            if not cases[-1].needs:
                raise ValueError(f"{name}:{number}: a line with | goes on with the line with @ above it")
            key, value = cases[-1].needs[-1]
            cases[-1].needs[-1] = (key, f"{value}\n{line[2:]}")
        else:
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{name}:{number}: not a line of a dialogue: {line!r}")
            side, connection, kind, rest = match.groups()
            _check_step(f"{name}:{number}", side, kind, rest)
            cases[-1].steps.append(Step(number, side, int(connection or 1), kind, rest))
    return cases


def _check_step(where: str, side: str, kind: str, text: str) -> None:
    """Raises ValueError for what could not be run: now, not when a server waits for it."""
    if side + kind not in ("C:", "C<", "C!", "S:", "S~", "S*", "S!"):
        raise ValueError(f"{where}: there is no {side}{kind}")
    try:
        if kind in "~*":
            re.compile(text)
        elif kind == "<":
            codecs.escape_decode(text.encode())
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{where}: not a regular expression: {error}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def read_cases(folder: Path, pattern: str = "**/*.txt") -> Iterator[Case]:
    """All cases of a folder's files, in order of their names."""
    for path in sorted(folder.glob(pattern)):
        yield from parse_cases(path.read_text("utf-8"), path.relative_to(folder).as_posix())


class _Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer


Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def run_case(case: Case, connect: Connect, *, line_seconds_max: float = 10.0) -> None:
    """Run one case against the server that `connect` reaches. Raises DialogueError."""
    peers: dict[int, _Peer] = {}
    said: list[str] = []
    try:
        for step in case.steps:
            if step.connection not in peers:
                peers[step.connection] = _Peer(*await connect())
            peer = peers[step.connection]
            prefix = f"{step.side}{step.connection if len(peers) > 1 else ''}"
            if step.side == "C":
                await _client(step, peer)
                said.append(f"{prefix}{step.kind} {step.text}")
            else:
                try:
                    async with asyncio.timeout(line_seconds_max):
                        await _server(step, peer, said, prefix)
                except TimeoutError:
                    raise _failure(case, step, said, f"nothing within {line_seconds_max:g} s") from None
                except _Difference as difference:
                    raise _failure(case, step, said, str(difference)) from None
    finally:
        for peer in peers.values():
            peer.writer.transport.abort()


class _Difference(Exception):
    pass


def _failure(case: Case, step: Step, said: list[str], got: str) -> DialogueError:
    dialogue = "\n".join(f"    {line}" for line in said)
    return DialogueError(
        f"{case}\n{dialogue}\n  line {step.line_number} expects: {step.side}{step.kind} {step.text}\n  got: {got}"
    )


async def _client(step: Step, peer: _Peer) -> None:
    if step.kind == "!":
        if step.text == "eof":
            peer.writer.write_eof()
        else:
            peer.writer.close()
        return
    octets = codecs.escape_decode(step.text.encode())[0] if step.kind == "<" else step.text.encode() + b"\r\n"
    assert isinstance(octets, bytes)
    peer.writer.write(octets)
    await peer.writer.drain()


async def _server(step: Step, peer: _Peer, said: list[str], prefix: str) -> None:
    while True:
        try:
            line = await peer.reader.readuntil(b"\r\n")
        except asyncio.IncompleteReadError as end:
            if step.kind == "!" and not end.partial:
                said.append(f"{prefix}! closed")
                return
            raise _Difference(f"closed after {end.partial!r}") from None
        except ConnectionError as error:
            if step.kind == "!":
                return
            raise _Difference(f"connection lost: {error}") from None
        text = line[:-2].decode("utf-8", "backslashreplace")
        said.append(f"{prefix}: {text}")
        if step.kind == ":" and text == step.text:
            return
        if step.kind in "~*" and re.fullmatch(step.text, text):
            return
        if step.kind != "*":
            raise _Difference(text)
