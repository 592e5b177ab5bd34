"""`mailjam client-check -- COMMAND`: what does a client do when the server stalls, and does it lose or double mail?

The command is run once per stage against a real server of its own, through a relay that stalls there: no greeting,
nothing after the login, half a body, no reply to the end of DATA. Then it is run again without a stall, as a user or a
queue would do, and the messages that the server holds are counted. For clients that fetch, a message waits in the INBOX
and an article in misc.test: what was cut off on its way must still be there.

In COMMAND, `{host}`, `{smtp_port}`, `{pop3_port}`, `{imap_port}` and `{nntp_port}` are replaced; the environment has
them as MAILJAM_CHECK_HOST, MAILJAM_CHECK_SMTP_PORT and so on. The account is alice, her password secret. TLS and
compression are not offered: the relay has to see at which stage a client is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

from emulator.config import Account, Settings
from emulator.server import Server
from harness.arguments import duration
from protocols.ports import Target
from protocols.settings import FrontEndSettings

STAGES: Final = ("greeting", "login", "mid-body", "after-data")
PROTOCOLS: Final = ("smtp", "pop3", "imap", "nntp")
USER, PASSWORD, GROUP = "alice", "secret", "misc.test"
WAITING_ID, ARTICLE_ID = "waiting@client-check.example", "article@client-check.example"
_LINES = "A line of a message that is long enough to be cut off on its way.\r\n" * 40
_HEAD = "From: Bob <bob@example.com>\r\nSubject: waiting\r\nDate: Fri, 08 Dec 2000 10:00:00 +0000\r\n"
WAITING: Final = f"{_HEAD}To: {USER}@example.com\r\nMessage-ID: <{WAITING_ID}>\r\n\r\n{_LINES}"
ARTICLE: Final = f"{_HEAD}Newsgroups: {GROUP}\r\nMessage-ID: <{ARTICLE_ID}>\r\nPath: x\r\n\r\n{_LINES}"
SETTLE_SECONDS_MAX: Final = 10.0
OPAQUE: Final = frozenset({"CHUNKING", "COMPRESS", "COMPRESS=DEFLATE"})
"""Capabilities that are not offered, since the relay would not see where a body begins."""
BODY_BYTES: Final = 100  # of a body that pass before the relay stalls
_LOGIN: Final = re.compile(rb"^(?:AUTH|USER|PASS|AUTHINFO|APOP|\S+ (?:LOGIN|AUTHENTICATE))\b", re.IGNORECASE)
_FETCHED: Final = re.compile(rb"^\* \d+ FETCH ", re.IGNORECASE | re.MULTILINE)
_APPEND: Final = re.compile(rb"^\S+ APPEND [^\r\n]*\{(\d+)\+?\}\r\n", re.IGNORECASE | re.MULTILINE)
_FETCH: Final = re.compile(rb"^(?:RETR|TOP|ARTICLE|BODY|\S+ (?:UID )?FETCH .*BODY.*)\b", re.IGNORECASE)


class NotToldError(ValueError):
    """The command has no way to find the server: a port is missing or mistyped, or it never connected."""


class StallingRelay:
    """Passes a client's connections on to a server, and stalls at `stage` (empty: nowhere)."""

    def __init__(self, target: tuple[str, int], protocol: str) -> None:
        self.target = target
        self.protocol = protocol
        self.stage = ""
        self.connections = 0
        self.reached = 0
        self.first_stall = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self.drop()

    async def drop(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        upstream: asyncio.StreamWriter | None = None
        try:
            from_server, upstream = await asyncio.open_connection(*self.target)
            await _Relayed(self, reader, writer, from_server, upstream).run()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for stream in (writer, upstream):
                if stream is not None:
                    stream.close()

    def stalled(self) -> None:
        """A connection stands still from now on."""
        self.reached += 1
        self.first_stall = self.first_stall or time.monotonic()


class _Relayed:
    """One connection on its way."""

    def __init__(
        self,
        relay: StallingRelay,
        client_in: asyncio.StreamReader,
        client_out: asyncio.StreamWriter,
        server_in: asyncio.StreamReader,
        server_out: asyncio.StreamWriter,
    ) -> None:
        self.relay = relay
        self.client_in, self.client_out = client_in, client_out
        self.server_in, self.server_out = server_in, server_out
        self.stage = relay.stage
        self.in_data = False
        self.fetching = False
        self.tail = b""
        self.literal_left = 0
        self.still = False

    async def run(self) -> None:
        """Until the client goes; the server's end of the connection follows."""
        pump = asyncio.get_running_loop().create_task(self._from_server())
        try:
            await self._from_client()
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    def _stall(self) -> None:
        if not self.still:
            self.still = True
            self.relay.stalled()

    async def _from_client(self) -> None:
        while data := await self.client_in.read(65536):
            if self.still:
                continue  # what comes now is read, so that its end is noticed, and goes nowhere
            if self.in_data:
                await self._body(data)
                continue
            if self.stage == "login" and any(_LOGIN.match(line) for line in data.splitlines()):
                self._stall()
                continue
            self.fetching = self.fetching or any(_FETCH.match(line) for line in data.splitlines())
            appended = _APPEND.search(data) if self.relay.protocol == "imap" else None
            if appended is None:
                await _write(self.server_out, data)
                continue
            self.in_data, self.literal_left = True, int(appended[1])
            await _write(self.server_out, data[: appended.end()])
            if rest := data[appended.end() :]:
                await self._body(rest)

    async def _body(self, data: bytes) -> None:
        if self.stage == "mid-body":
            await _write(self.server_out, data[: min(BODY_BYTES, len(data) // 2)])
            self._stall()
            return
        if self.relay.protocol == "imap":
            self.literal_left -= len(data)
            ends = self.literal_left <= -2  # with the line end that stands behind it
        else:
            ends = (self.tail + data).endswith(b"\r\n.\r\n")
            self.tail = (self.tail + data)[-5:]
        if ends:
            self.in_data = False
            if self.stage == "after-data":
                self._stall()  # before it is sent: the reply must not get through
        await _write(self.server_out, data)

    async def _from_server(self) -> None:
        while data := await self.server_in.read(65536):
            if self.stage == "greeting":
                self._stall()
            if self.still:
                continue
            last = data.rstrip(b"\r\n").rpartition(b"\n")[2]  # replies to pipelined commands come together
            if self.relay.protocol in ("smtp", "nntp") and last.startswith((b"354", b"340", b"335")):
                self.in_data = True
            elif self.relay.protocol == "imap" and not data.startswith(b"+"):
                self.in_data = False  # the message was not wanted, or is there
            if self.stage == "mid-body" and self.fetching and (self.relay.protocol != "imap" or _FETCHED.search(data)):
                await _write(self.client_out, data[: min(BODY_BYTES, len(data) // 2)])
                self._stall()
                continue
            await _write(self.client_out, data)
        if not self.still:
            self.client_out.close()


async def _write(stream: asyncio.StreamWriter, data: bytes) -> None:
    stream.write(data)
    await stream.drain()


@dataclass(slots=True)
class StageReport:
    """One stage. `gave_up_seconds`: from the stall to the client's end; None when it was still waiting at the limit."""

    stage: str
    reached: bool
    exit_code: int | None
    gave_up_seconds: float | None
    stored: int
    stored_after_retry: int
    waiting_kept: bool
    """Whether the message in the INBOX was still there when the stalled attempt had ended."""
    verdict: str
    unstalled_exit_code: int | None = 0
    """How the same command ended without any stall; None: it did not. Where that is not 0 a stall proves little."""

    def line(self) -> str:
        if not self.reached:
            return f"{self.stage:<11} not reached: the client does nothing at this stage (exit code {self.exit_code})"
        waited = "never gave up" if self.gave_up_seconds is None else f"gave up after {self.gave_up_seconds:.1f} s"
        code = "killed" if self.exit_code is None else f"exit code {self.exit_code}"
        count = f"stored {self.stored}, after a retry {self.stored_after_retry}"
        return f"{self.stage:<11} {waited}, {code}; {count}: {self.verdict}"


def judge(expected: int, exit_code: int | None, stored: int, after_retry: int, *, waiting_kept: bool = True) -> str:
    """Lost, duplicated, or as it should be. `expected`: how many messages an undisturbed run stores.

    `waiting_kept`: whether the message in the INBOX was still there when the stalled attempt had ended.
    """
    if not waiting_kept:
        return "LOST: the client removed the message that waited for it, without having got it whole"
    if exit_code == 0 and stored < expected:
        return "LOST: the client reported success, but the server does not have the message"
    if after_retry > expected:
        return "DUPLICATED: the first attempt was stored although the client took it for failed"
    if after_retry < expected:
        return "LOST: not stored, even by the retry"
    return "nothing lost, nothing duplicated"


async def check(command: list[str], seconds: float, stages: tuple[str, ...] = STAGES) -> list[StageReport]:
    """Run the command through all stages; each attempt may take `seconds`. Raises NotToldError."""
    for word in command:
        for name in re.findall(r"\{(\w+_port)\}", word):
            if name.removesuffix("_port") not in PROTOCOLS:
                known = ", ".join(f"{{{protocol}_port}}" for protocol in PROTOCOLS)
                raise NotToldError(f"unknown {{{name}}}: there are {{host}}, {known}")
    reports: list[StageReport] = []
    expected = 0
    unstalled: int | None = 0
    for stage in ("", *stages):
        front_end = FrontEndSettings(capabilities_hidden=OPAQUE)
        accounts = (Account(USER, PASSWORD),)
        settings = Settings(accounts=accounts, groups=(GROUP,), tls=False, front_end=front_end)
        async with Server(settings) as server:
            store = server.store
            await server.converter.put(WAITING.encode(), [Target(store.mailbox(USER).inbox)])
            await server.converter.put(ARTICLE.encode(), [Target(store.newsgroup(GROUP))])
            relays = {name: StallingRelay(server.addresses[name], name) for name in PROTOCOLS}
            try:
                for relay in relays.values():
                    await relay.start()
                    relay.stage = stage
                if stage:
                    report = await _check_stage(command, server, relays, stage, expected, seconds)
                    report.unstalled_exit_code = unstalled
                    reports.append(report)
                    continue
                unstalled, _ = await _attempt(command, relays, seconds)
                expected, _ = await _count(server)
                if not any(relay.connections for relay in relays.values()):
                    raise NotToldError(f"{command[0]} never connected: give it a port of ours, such as {{smtp_port}}")
            finally:
                for relay in relays.values():
                    await relay.stop()
    return reports


async def _check_stage(
    command: list[str], server: Server, relays: dict[str, StallingRelay], stage: str, expected: int, seconds: float
) -> StageReport:
    """One attempt that stalls, and another one that does not."""
    code, ended = await _attempt(command, relays, seconds)
    stored, kept = await _count(server)
    stalls = [relay.first_stall for relay in relays.values() if relay.reached]
    for relay in relays.values():
        await relay.drop()
        relay.stage = ""
    if stalls and code != 0:
        await _attempt(command, relays, seconds)
    after, _ = await _count(server)
    gave_up = ended - min(stalls) if stalls and code is not None else None
    verdict = judge(expected, code, stored, after, waiting_kept=kept or not stalls)
    return StageReport(stage, bool(stalls), code, gave_up, stored, after, kept, verdict)


async def _count(server: Server) -> tuple[int, bool]:
    """How many messages the client has stored, and whether the one that waits for it is still there."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.inbound.settled(), SETTLE_SECONDS_MAX)
    folders = server.store.folders_by_id.values()
    ids = [message.content.message_id.decode("latin-1") for folder in folders for message in folder.messages]
    own = (f"<{WAITING_ID}>", f"<{ARTICLE_ID}>")
    return sum(each not in own for each in ids), own[0] in ids


async def _attempt(command: list[str], relays: dict[str, StallingRelay], seconds: float) -> tuple[int | None, float]:
    """Exit code (None: killed at the limit) and when it ended."""
    names = {"host": "127.0.0.1"} | {f"{name}_port": str(relay.port) for name, relay in relays.items()}
    words = [re.sub(r"\{(\w+)\}", lambda match: names.get(match[1], match[0]), word) for word in command]
    environment = os.environ | {f"MAILJAM_CHECK_{name.upper()}": value for name, value in names.items()}
    process = await asyncio.create_subprocess_exec(
        *words, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=None
    )
    code: int | None = None
    try:
        with contextlib.suppress(TimeoutError):
            code = await asyncio.wait_for(process.wait(), seconds)
    finally:
        if process.returncode is None:  # it went on for too long, or we are interrupted
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return code, time.monotonic()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `mailjam client-check`."""
    parser = subparsers.add_parser(
        "client-check",
        help="run a client against a server that stalls at each stage in turn",
        epilog="COMMAND may hold {host}, {smtp_port}, {pop3_port}, {imap_port}, {nntp_port}. The account is "
        f"{USER}, password {PASSWORD}; a message waits in the INBOX and an article in {GROUP}; there is no TLS. Exit "
        "code: 0 it gave up everywhere, lost and doubled nothing, 1 it did not, 2 it cannot be run or never connects, "
        "3 inconclusive: it fails without any stall, too.",
    )
    parser.add_argument("--seconds", type=duration, default=60.0, metavar="S", help="how long an attempt may take (60)")
    parser.add_argument("--stage", action="append", choices=STAGES, help="only this stage (may be repeated)")
    parser.add_argument("--json", action="store_true", help="a JSON line per stage")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --, with {smtp_port} and so on")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The command; see its help for the exit codes."""
    command = args.command[1:] if args.command[0] == "--" else args.command
    try:
        reports = asyncio.run(check(command, args.seconds, tuple(args.stage or STAGES)))
    except (FileNotFoundError, PermissionError) as error:
        print(f"mailjam client-check: {command[0]}: {error.strerror}", file=sys.stderr)
        return 2
    except NotToldError as error:
        print(f"mailjam client-check: {error}", file=sys.stderr)
        return 2
    for report in reports:
        print(json.dumps(asdict(report)) if args.json else report.line())
    bad = [r for r in reports if r.reached and (r.gave_up_seconds is None or not r.verdict.startswith("nothing"))]
    unstalled = reports[0].unstalled_exit_code
    if unstalled != 0:
        end = "does not end" if unstalled is None else f"ends with exit code {unstalled}"
        print(f"mailjam client-check: inconclusive: without any stall {command[0]} {end}", file=sys.stderr)
    return 1 if bad else 3 if unstalled != 0 else 0
