"""`mailjam watch`: is a mail server alive, slow, hung (where), backing up, refusing or down? From outside, any server.

Each round opens a new session per protocol and asks something on a session that is kept open from round to round. That
is what tells the failures apart: a frozen session among healthy ones, a listener that accepts no more, a stop that
never ends (nobody is let in, but the old sessions stay).

Exit code, as monitoring systems have it: 0 all alive, 1 something slow, 2 something hung, backing up, refusing or down.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.arguments import duration, how_many
from harness.probes import SESSIONS, Pop3Session, Session, SmtpSession, StageError, tls_context

PROTOCOLS = ("smtp", "pop3", "imap", "nntp")
SERVICES = (*PROTOCOLS, *(f"{name}s" for name in PROTOCOLS))
"""What can be watched: in plain (or by STARTTLS), and with TLS from the first octet."""
_GRAVITY = {"alive": 0, "slow": 1, "backing up": 2, "refusing": 2, "hung": 2, "down": 2}
_DELIVERY_POLL_SECONDS = 0.2


@dataclass(slots=True)
class Finding:
    """The state of one service. `where`: the stage, or `session`, `accept`, `all sessions`, `stop`, `delivery`."""

    service: str
    status: str
    where: str = ""
    detail: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    def line(self) -> str:
        """One row of the table."""
        slowest = max(self.seconds.items(), key=lambda item: item[1], default=("", 0.0))
        where = f" at {self.where}" if self.where else ""
        timing = f"  slowest stage {slowest[0]}: {slowest[1]:.2f} s" if self.seconds else ""
        return f"{self.service:<9} {self.status}{where}{timing}{'  ' + self.detail if self.detail else ''}"


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """`targets`: service (`imap`, `imaps`) → (host, port). Deadlines and limits in seconds."""

    targets: dict[str, tuple[str, int]]
    user: str = ""
    password: str = ""
    recipient: str = ""
    deadline_seconds: float = 2.5
    slow_seconds: float = 1.0
    delivery_seconds: float = 10.0
    start_tls: bool = False
    """Whether TLS is started by the protocol's command where it is not there from the first octet."""
    ca_file: str = ""
    """PEM file of the authority that certificates are checked against; empty: they are not checked."""

    def __post_init__(self) -> None:
        unknown = set(self.targets) - set(SERVICES)
        if unknown:
            raise ValueError(f"{unknown.pop()!r} cannot be watched: there are {', '.join(SERVICES)}")


class Watcher:
    """Probes the targets, round by round; keeps one session per protocol open between rounds."""

    def __init__(self, settings: WatchSettings) -> None:
        self.settings = settings
        self.kept: dict[str, Session] = {}
        self._context = tls_context(settings.ca_file)

    async def round(self) -> list[Finding]:
        """One probe of every target, at the same time, and then of a delivery."""
        findings = list(await asyncio.gather(*(self._probe(name) for name in self.settings.targets)))
        delivery = await self._delivery({finding.service: finding for finding in findings})
        return findings + ([delivery] if delivery is not None else [])

    async def _probe(self, name: str) -> Finding:
        session = self.session(name)
        kept, opened = await asyncio.gather(self._ask_kept(name), self._open(name, session))
        finding = self._judge(name, session, opened, kept)
        if opened is None and (kept is not None or name not in self.kept):
            old = self.kept.pop(name, None)
            if old is not None and not old.alive():
                old.close()
            if old is None or kept is None or kept.status != "hung":
                self.kept[name] = session
            else:
                self.kept[name] = old  # a frozen session stays under observation
                session.close()
        else:
            session.close()
        return finding

    def session(self, name: str) -> Session:
        """A new session with a target, not yet connected."""
        host, port = self.settings.targets[name]
        implicit = name not in PROTOCOLS
        return SESSIONS[name.removesuffix("s") if implicit else name](
            host,
            port,
            self.settings.deadline_seconds,
            implicit_tls=self._context if implicit else None,
            start_tls=self._context if self.settings.start_tls and not implicit else None,
        )

    async def _open(self, name: str, session: Session) -> StageError | None:
        try:
            await session.open()
            if self.settings.user and isinstance(session, Pop3Session):
                await self._log_in_and_out(session, self.session(name))
            elif self.settings.user:
                await session.login(self.settings.user, self.settings.password)
        except StageError as error:
            return error
        return None

    async def _log_in_and_out(self, session: Session, other: Session) -> None:
        """On another connection: a session that is kept open may not have the maildrop, which only one can have."""
        assert isinstance(other, Pop3Session)
        try:
            await other.open()
            await other.login(self.settings.user, self.settings.password)
            session.seconds["login"] = other.seconds["login"]
            await other.leave()
        finally:
            other.close()

    async def _ask_kept(self, name: str) -> StageError | None:
        """Ask something on the session of earlier rounds; None when it answers, or when there is none."""
        session = self.kept.get(name)
        if session is None:
            return None
        try:
            await session.noop()
        except StageError as error:
            return error
        return None

    def _judge(self, name: str, session: Session, opened: StageError | None, kept: StageError | None) -> Finding:
        have_kept = name in self.kept
        seconds = dict(session.seconds)
        if opened is None:
            if kept is not None and kept.status == "hung":
                return Finding(name, "hung", "session", "an older session is frozen, new ones are served", seconds)
            slow = [stage for stage, taken in seconds.items() if taken > self.settings.slow_seconds]
            return Finding(name, "slow" if slow else "alive", slow[0] if slow else "", "", seconds)
        if opened.status == "hung" and have_kept:
            if kept is None:
                where = self._stage(opened, session.port)
                return Finding(name, "hung", where, "older sessions still answer, new ones do not get through", seconds)
            if kept.status == "hung":
                return Finding(name, "hung", "all sessions", f"new ones stop at {opened.stage}", seconds)
        if opened.status == "down" and opened.stage == "connect" and have_kept and self.kept[name].alive():
            return Finding(name, "hung", "stop", "nobody is let in any more, but older sessions stay open", seconds)
        return Finding(name, opened.status, self._stage(opened, session.port), opened.detail, seconds)

    def _stage(self, error: StageError, port: int) -> str:
        """The stage; a greeting that does not come because the connection lies in the listener's queue is `accept`."""
        waits_for_greeting = error.status == "hung" and error.stage in ("connect", "greeting")
        return "accept" if waits_for_greeting and accept_queue(port) else error.stage

    async def _delivery(self, states: dict[str, Finding]) -> Finding | None:
        """Send a message and look for it in the mailbox; None where that was not asked for."""
        settings = self.settings
        reader_name = next((name for name in ("imap", "imaps", "pop3", "pop3s") if name in settings.targets), None)
        sender_name = next((name for name in ("smtp", "smtps") if name in settings.targets), None)
        if not settings.user or sender_name is None or reader_name is None:
            return None
        if any(_GRAVITY[states[name].status] > 1 for name in (sender_name, reader_name)):
            return None
        mark = f"mailjam-watch-{secrets.token_hex(8)}"
        recipient = settings.recipient or (settings.user if "@" in settings.user else f"{settings.user}@localhost")
        start = time.monotonic()
        sender = self.session(sender_name)
        assert isinstance(sender, SmtpSession)
        try:
            await sender.open()
            await sender.submit(recipient, recipient, mark)
        except StageError as error:
            return Finding("delivery", error.status, error.stage, error.detail, sender.seconds)
        finally:
            sender.close()
        accepted = time.monotonic() - start
        deadline = start + settings.delivery_seconds
        while time.monotonic() < deadline:
            try:
                if await self._look(reader_name, mark):
                    seconds = {"transaction": accepted, "delivery": time.monotonic() - start}
                    status = (
                        "slow"
                        if seconds["delivery"] > max(settings.slow_seconds, settings.delivery_seconds / 2)
                        else "alive"
                    )
                    return Finding("delivery", status, "", "", seconds)
            except StageError as error:
                return Finding("delivery", error.status, error.stage, error.detail, {"transaction": accepted})
            await asyncio.sleep(_DELIVERY_POLL_SECONDS)
        detail = f"accepted, but not in the mailbox after {settings.delivery_seconds:g} s"
        return Finding("delivery", "backing up", "delivery", detail, {"transaction": accepted})

    async def _look(self, name: str, mark: str) -> bool:
        session = self.session(name)
        try:
            await session.open()
            await session.login(self.settings.user, self.settings.password)
            return await session.find(mark)
        finally:
            session.close()

    def close(self) -> None:
        """Drop the kept sessions."""
        for session in self.kept.values():
            session.close()
        self.kept.clear()


def accept_queue(port: int) -> int:
    """Connections that a listener on this machine has not accepted (Linux; 0 where that cannot be known)."""
    waiting = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for row in Path(table).read_text().splitlines()[1:]:
                columns = row.split()
                if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                    waiting += int(columns[4].partition(":")[2], 16)
    return waiting


def exit_code(findings: list[Finding]) -> int:
    """0, 1 or 2, by the gravest finding."""
    return max((_GRAVITY[finding.status] for finding in findings), default=0)


# A stop that never ends


def process_alive(pid: int) -> bool:
    """Does the process exist and is it no zombie?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return True


def take_stacks(pid: int) -> str:
    """The stacks of a process: by py-spy for a Python process where it is installed, else what /proc tells."""
    beside = str(Path(sys.executable).parent)  # in the same virtual environment, which need not be active
    tool = shutil.which("py-spy") or shutil.which("py-spy", path=beside)
    if tool is not None:
        try:
            done = subprocess.run(  # noqa: S603 - a tool found on the path, a number as its argument
                [tool, "dump", "--pid", str(pid)], capture_output=True, text=True, timeout=20, check=False
            )
            if done.returncode == 0:
                return done.stdout.rstrip()
        except (OSError, subprocess.TimeoutExpired):
            pass
    lines = []
    for thread in sorted(Path(f"/proc/{pid}/task").glob("*")) if Path(f"/proc/{pid}/task").exists() else []:
        with contextlib.suppress(OSError):
            state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
            name, channel = (thread / "comm").read_text().strip(), (thread / "wchan").read_text().strip()
            lines.append(
                f"thread {thread.name} ({name}): state {state}, in {channel if channel != '0' else 'user code'}"
            )
    hint = "" if tool else "\n(pip install py-spy: then the Python stacks are shown here)"
    return ("\n".join(lines) or "no stacks: the process cannot be looked into") + hint


async def watch_stop(watcher: Watcher, command: str, pid: int, stop_seconds: float) -> tuple[list[Finding], str]:
    """Run the stop command and watch the process go; when it does not, the stacks say where it stands.

    Raises OSError when there is no such command, ValueError when it cannot be split into words.
    """
    await watcher.round()
    start = time.monotonic()
    stopper = await asyncio.create_subprocess_exec(
        *shlex.split(command), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    while process_alive(pid) and time.monotonic() - start < stop_seconds:  # noqa: ASYNC110 - a process sets no event
        await asyncio.sleep(0.05)
    took = time.monotonic() - start
    if stopper.returncode is None:
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            await asyncio.wait_for(stopper.wait(), 0.2)
    if not process_alive(pid):
        return [Finding("stop", "alive", "", f"ended after {took:.1f} s", {"stop": took})], ""
    findings = await watcher.round()
    detail = f"process {pid} is still there {took:.1f} s after the stop command"
    stacks = await asyncio.to_thread(take_stacks, pid)
    if stopper.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            stopper.kill()
    return [Finding("stop", "hung", "stop", detail, {"stop": took}), *findings], stacks


# The command


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `mailjam watch`."""
    parser = subparsers.add_parser(
        "watch",
        help="probe any mail server from outside: alive, slow, hung, backing up …",
        epilog="Exit code: 0 all alive, 1 something slow, 2 something hung, backing up, refusing or down (or a wrong "
        "flag), 3 nothing to watch.",
    )
    for name in PROTOCOLS:
        parser.add_argument(f"--{name}", metavar="H:P", type=_address, help=f"the {name.upper()} server")
    for name in PROTOCOLS:
        text = f"{name.upper()} with TLS from the first octet"
        parser.add_argument(f"--{name}s", metavar="H:P", type=_address, help=text)
    parser.add_argument("--starttls", action="store_true", help="start TLS on the plain ports, before the login")
    parser.add_argument("--ca", default="", metavar="FILE", help="check certificates against this authority (PEM)")
    parser.add_argument("--user", default="", help="log in, and watch whether mail to this user arrives")
    parser.add_argument("--password", default="")
    parser.add_argument("--recipient", default="", help="address for the delivery probe (USER or USER@localhost)")
    parser.add_argument("--deadline", type=duration, default=2.5, metavar="S", help="seconds a stage may take (2.5)")
    parser.add_argument(
        "--slow", type=duration, default=1.0, metavar="S", help="seconds from which a stage is slow (1)"
    )
    parser.add_argument(
        "--delivery-deadline", type=duration, default=10.0, metavar="S", help="until mail is visible (10)"
    )
    parser.add_argument("--interval", type=duration, default=10.0, metavar="S", help="seconds between rounds (10)")
    parser.add_argument("--once", action="store_true", help="one round")
    parser.add_argument("--json", action="store_true", help="a JSON line per finding")
    parser.add_argument("--stop-command", metavar="CMD", help="run this and watch the server's graceful stop")
    parser.add_argument("--pid", type=how_many, metavar="N", help="the server's process, for --stop-command")
    parser.add_argument(
        "--stop-seconds", type=duration, default=30.0, metavar="S", help="how long a stop may take (30)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, 1 or 2 by the gravest finding of the last round; 3 when nothing was to be watched."""
    targets = {name: getattr(args, name) for name in SERVICES if getattr(args, name)}
    if not targets and not args.stop_command:
        print("mailjam watch: name a server, such as --smtp localhost:25", file=sys.stderr)
        return 3
    if bool(args.stop_command) != bool(args.pid):
        print("mailjam watch: --stop-command and --pid belong together", file=sys.stderr)
        return 3
    settings = WatchSettings(
        targets,
        args.user,
        args.password,
        args.recipient,
        args.deadline,
        args.slow,
        args.delivery_deadline,
        args.starttls,
        args.ca,
    )
    try:
        watcher = Watcher(settings)
    except OSError as error:  # ssl's errors are among them
        print(f"mailjam watch: --ca {args.ca}: {error.strerror or error}", file=sys.stderr)
        return 3
    return asyncio.run(_run(args, watcher))


async def _run(args: argparse.Namespace, watcher: Watcher) -> int:
    try:
        if args.stop_command:
            try:
                findings, stacks = await watch_stop(watcher, args.stop_command, args.pid, args.stop_seconds)
            except (OSError, ValueError) as error:
                print(f"mailjam watch: --stop-command {args.stop_command!r}: {error}", file=sys.stderr)
                return 3
            show(findings, as_json=args.json)
            if stacks:
                print(json.dumps({"stacks": stacks}) if args.json else stacks)
            return exit_code(findings)
        while True:
            findings = await watcher.round()
            show(findings, as_json=args.json)
            if args.once:
                return exit_code(findings)
            await asyncio.sleep(args.interval)
    finally:
        watcher.close()


def show(findings: list[Finding], *, as_json: bool) -> None:
    """Print a round."""
    stamp = time.strftime("%H:%M:%S")
    for finding in findings:
        if as_json:
            seconds = {stage: round(taken, 4) for stage, taken in finding.seconds.items()}
            print(json.dumps({"time": time.time(), **asdict(finding), "seconds": seconds}), flush=True)
        else:
            print(f"{stamp}  {finding.line()}", flush=True)
