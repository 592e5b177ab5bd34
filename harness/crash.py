"""`make crash`: kill the server at random instants, start it again, compare with what it had acknowledged.

Clients with real sockets send by SMTP, APPEND, COPY, STORE, EXPUNGE and POST, and write down each answer. After SIGKILL
the data directory must be clean (`mailjam check`), and after the restart everything that was answered must be so: no
message lost, none there twice, no UID used again. With `--fault full` the directory is a small tmpfs that fills up;
with `--fault writes` the kernel refuses writes beyond a file size: then there are refusals, and the same must hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from emulator.durable.check import check_directory
from emulator.spool import BAD, IN, SPOOL_NAME

from .clients import Client, ImapClient, NntpClient, Refused, SmtpClient
from .crash_model import DeliveryModel, FolderModel, Found

START_SECONDS_MAX = 60.0
DRAIN_SECONDS_MAX = 60.0
GROUP = "misc.crash"
USERS = ("alice", "bob")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "$Work")
FULL_DISK_OCTETS = 6 << 20
WRITES_OCTETS_MAX = 256 << 10
"""By how much the largest file may grow until writes fail."""
Failed = (Refused, OSError, EOFError, TimeoutError)


class Imap(ImapClient):
    """Keeps the tagged response, where response codes with UIDs are."""

    tagged = b""

    async def responses(self, tag: bytes) -> list[bytes]:
        untagged: list[bytes] = []
        while True:
            response = await self._response()
            if response.startswith(tag + b" "):
                self.tagged = response
                if not response.startswith(tag + b" OK"):
                    raise Refused(response.decode("utf-8", "replace"))
                return untagged
            untagged.append(response)

    def new_uid(self) -> tuple[int, int]:
        """(UIDVALIDITY, UID) of APPENDUID or COPYUID (RFC 4315)."""
        match = re.search(rb"\[APPENDUID (\d+) (\d+)\]|\[COPYUID (\d+) \d+ (\d+)\]", self.tagged)
        if match is None:
            raise Refused(f"no UID in {self.tagged!r}")
        validity, uid = [int(each) for each in match.groups() if each]
        return validity, uid


class Process:
    """A server in a process of its own."""

    def __init__(self, directory: Path, bytecode: Path) -> None:
        """`bytecode`: where its modules are kept compiled, so that it starts sooner the second time."""
        self._directory = directory
        self._bytecode = bytecode
        self.addresses: dict[str, tuple[str, int]] = {}
        self._process: subprocess.Popen[str] | None = None
        self.output: list[str] = []

    def start(self) -> None:
        """Raises RuntimeError with what it said when it does not come up."""
        command = [sys.executable, "-m", "harness.cli", "serve", "--quiet", "--data", str(self._directory)]
        command += ["--http-port", "off", "--no-tls"]
        for user in USERS:
            command += ["--user", f"{user}:secret"]
        command += ["--group", GROUP]
        for name in ("smtp", "pop3", "imap", "nntp"):
            command += [f"--{name}-port", "0"]
        environment = os.environ | {"PYTHONPYCACHEPREFIX": str(self._bytecode)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self.output = []
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output.append(line)
            match = re.match(r"\s+(\w+)\s+(\S+) port (\d+)", line)
            if match:
                self.addresses[match[1].lower()] = (match[2], int(match[3]))
            if "Ctrl-C" in line:
                return
        raise RuntimeError("the server did not start:\n" + "".join(self.output[-20:]))

    def limit_files(self, octets: int) -> None:
        """Let writes beyond so many octets of a file fail: with EFBIG, or short."""
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (octets, resource.RLIM_INFINITY))

    def kill(self) -> None:
        """SIGKILL: no handler, no flush, nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            if self._process.stdout is not None:
                self.output.extend(self._process.stdout.readlines())
                self._process.stdout.close()
            self._process = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None


def message(token: str, rng: random.Random) -> bytes:
    """A message that its token names; now and then a large one."""
    octets = rng.choice((200, 1000, 1000, 4000, 40_000))
    body = (f"{token} " * (octets // (len(token) + 1))).encode()
    lines = b"\r\n".join(body[start : start + 70] for start in range(0, len(body), 70))
    head = (
        f"From: <c@crash.test>\r\nNewsgroups: {GROUP}\r\nMessage-ID: <{token}@crash.test>\r\nSubject: {token}\r\n\r\n"
    )
    return head.encode() + lines + b"\r\n"


class Crash:
    """The rounds."""

    def __init__(
        self, directory: Path, seed: int, *, bytecode: Path, load_seconds_max: float = 1.0, fault: str = ""
    ) -> None:
        self.directory = directory
        self.fault = fault
        self.seed = seed
        self.rng = random.Random(seed)  # noqa: S311 - which instant, which message
        self._load_seconds_max = load_seconds_max
        self._number = 0
        self.process = Process(directory, bytecode)
        self.folders = {user: {name: FolderModel(f"{user}/{name}") for name in ("work", "copies")} for user in USERS}
        self.inboxes = {user: DeliveryModel(f"{user}/INBOX") for user in USERS}
        self.group = DeliveryModel(GROUP)
        self.wrong: list[str] = []
        self.acknowledged = 0
        self.refused = 0
        self.rounds = 0

    # --- the load -----------------------------------------------------------------------------------------------------

    def _token(self) -> str:
        self._number += 1
        return f"t{self.seed}x{self._number}"

    async def _until_it_breaks(self, client: Client, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat until the server is gone. What it refuses was not done, and is allowed under a fault only."""
        async with client:
            while True:
                try:
                    await step()
                    self.acknowledged += 1
                except Refused as error:
                    self.refused += 1
                    if not self.fault:
                        self.wrong.append(f"refused without a fault: {error}")
                        return
                    await asyncio.sleep(0)
                except Failed:
                    return

    async def _smtp(self, user: str) -> None:
        client = await SmtpClient.connect(self.process.addresses["smtp"])
        await client.hello()
        inbox = self.inboxes[user]

        async def step() -> None:
            token = self._token()
            inbox.sent.add(token)
            try:
                await client.send("c@crash.test", [user], message(token, self.rng))
            except Refused:
                inbox.sent.discard(token)
                await client.command("RSET", 250)
                raise
            inbox.acknowledged.add(token)

        await self._until_it_breaks(client, step)

    async def _nntp(self) -> None:
        client = await NntpClient.connect(self.process.addresses["nntp"])

        async def step() -> None:
            token = self._token()
            self.group.sent.add(token)
            try:
                await client.post(message(token, self.rng))
            except Refused:
                self.group.sent.discard(token)
                raise
            self.group.acknowledged.add(token)

        await self._until_it_breaks(client, step)

    async def _imap(self, user: str) -> None:
        client = await Imap.connect(self.process.addresses["imap"])
        await client.login(user, "secret")
        work, copies = self.folders[user]["work"], self.folders[user]["copies"]
        for folder in (work, copies):
            with contextlib.suppress(Refused):
                await client.command(f"CREATE {folder.name.partition('/')[2]}")
        await client.command("SELECT work")
        steps = (self._append, self._append, self._store, self._store, self._expunge, self._copy)

        async def step() -> None:
            await self.rng.choice(steps)(client, work, copies)

        await self._until_it_breaks(client, step)

    async def _append(self, client: Imap, work: FolderModel, copies: FolderModel) -> None:
        token = self._token()
        work.arriving[token] += 1
        try:
            await client.append("work", message(token, self.rng))
        except Refused:
            work.arriving[token] -= 1
            raise
        work.arriving[token] -= 1
        self._arrived(client, work, token, frozenset())

    def _arrived(self, client: Imap, folder: FolderModel, token: str, flags: frozenset[str]) -> None:
        validity, uid = client.new_uid()
        if folder.uid_validity not in (0, validity):
            self.wrong.append(f"{folder.name}: UIDVALIDITY {folder.uid_validity} became {validity}")
        folder.uid_validity = validity
        self.wrong.extend(folder.arrived(uid, token, flags))

    async def _store(self, client: Imap, work: FolderModel, copies: FolderModel) -> None:
        if not work.messages:
            return
        uid = self.rng.choice(list(work.messages))
        token, flags = work.messages[uid]
        flag, add = self.rng.choice(FLAGS), self.rng.random() < 0.7
        new = flags | {flag} if add else flags - {flag}
        work.flags_in_doubt[uid] = new
        try:
            await client.command(f"UID STORE {uid} {'+' if add else '-'}FLAGS ({flag})")
        except Refused:
            del work.flags_in_doubt[uid]
            raise
        del work.flags_in_doubt[uid]
        work.messages[uid] = (token, new)

    async def _expunge(self, client: Imap, work: FolderModel, copies: FolderModel) -> None:
        if len(work.messages) < 5:
            return
        uid = self.rng.choice(list(work.messages))
        token, flags = work.messages[uid]
        deleted = flags | {"\\Deleted"}
        work.flags_in_doubt[uid] = deleted
        try:
            await client.command(f"UID STORE {uid} +FLAGS (\\Deleted)")
        except Refused:
            del work.flags_in_doubt[uid]
            raise
        del work.flags_in_doubt[uid]
        work.messages[uid] = (token, deleted)
        work.leaving.add(uid)
        try:
            await client.command(f"UID EXPUNGE {uid}")
        except Refused:
            work.leaving.discard(uid)
            raise
        work.leaving.discard(uid)
        del work.messages[uid]

    async def _copy(self, client: Imap, work: FolderModel, copies: FolderModel) -> None:
        if not work.messages:
            return
        uid = self.rng.choice(list(work.messages))
        token, flags = work.messages[uid]
        copies.arriving[token] += 1
        try:
            await client.command(f"UID COPY {uid} copies")
        except Refused:
            copies.arriving[token] -= 1
            raise
        copies.arriving[token] -= 1
        self._arrived(client, copies, token, flags)

    # --- a round ------------------------------------------------------------------------------------------------------

    async def round(self) -> None:
        """Load, kill, check, start, compare; the server that was compared has the next round's load."""
        self.rounds += 1
        if not self.process.alive:
            self.process.start()
        if self.fault == "writes":
            sizes = [path.stat().st_size for path in self.directory.rglob("*") if path.is_file()]
            self.process.limit_files(max(sizes, default=0) + WRITES_OCTETS_MAX)
        await self._load()
        self._kill()
        if self.fault == "full":
            await self._give_room()
        self.process.start()
        if self.rng.random() < 0.2:  # killed while it recovers, too
            await asyncio.sleep(self.rng.random() * 0.2)
            self._kill()
            self.process.start()
        await self._drained()
        await self._compare()

    async def _load(self) -> None:
        clients = [self._smtp(user) for user in USERS] + [self._imap(user) for user in USERS] + [self._nntp()]
        tasks = [asyncio.ensure_future(client) for client in clients]
        seconds = self.rng.uniform(0.05, self._load_seconds_max)
        await asyncio.sleep(seconds if not self.fault else 4 * self._load_seconds_max)
        alive = self.process.alive
        self.process.kill()
        if not alive:
            self.wrong.append("the server ended by itself: " + "".join(self.process.output[-20:]))
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, Failed):
                raise result

    def _kill(self) -> None:
        self.process.kill()
        if not (self.directory / "store.sqlite3").exists():
            return
        report = check_directory(self.directory)
        self.wrong.extend(f"check: {problem.text}" for problem in report.problems)

    async def _give_room(self) -> None:
        """Make the full file system larger, as an administrator would."""
        await asyncio.to_thread(_mount, self.directory.parent, 64 * FULL_DISK_OCTETS, again=True)

    async def _drained(self) -> None:
        spool = self.directory / SPOOL_NAME / IN
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        while any(spool.iterdir()):
            if time.monotonic() > deadline:
                self.wrong.append(f"{len(list(spool.iterdir()))} messages are still in In after {DRAIN_SECONDS_MAX} s")
                return
            await asyncio.sleep(0.01)
        bad = list((self.directory / SPOOL_NAME / BAD).iterdir())
        if bad:
            self.wrong.append(f"{len(bad)} messages are in BAD")

    async def _compare(self, *, everything: bool = False) -> None:
        for user in USERS:
            async with await Imap.connect(self.process.addresses["imap"]) as client:
                await client.login(user, "secret")
                for name, folder in self.folders[user].items():
                    try:
                        validity, uid_next, found = await _look(client, name)
                    except Refused as error:
                        if folder.messages:
                            self.wrong.append(f"{folder.name} is lost: {error}")
                        continue
                    self.wrong.extend(folder.compare(validity, uid_next, found))
                inbox = self.inboxes[user]
                first = 1 if everything else max(inbox.confirmed, default=0) + 1
                _, _, found = await _look(client, "INBOX", first)
                delivered = {each.uid: each.token for each in found}
                self.wrong.extend(inbox.compare_all(delivered) if everything else inbox.compare(delivered))
        first = 1 if everything else max(self.group.confirmed, default=0) + 1
        articles = await self._articles(first)
        self.wrong.extend(self.group.compare_all(articles) if everything else self.group.compare(articles))

    async def _articles(self, first: int) -> dict[int, str]:
        async with await NntpClient.connect(self.process.addresses["nntp"]) as client:
            await client.command(f"GROUP {GROUP}", 211)
            answer = await client.command(f"XHDR Subject {first}-")
            if not answer.startswith((b"221", b"225")):
                return {}
            lines = (await client.block()).decode().splitlines()
        pairs = (line.partition(" ") for line in lines)
        return {int(number): token for number, _, token in pairs if int(number) >= first}

    async def finish(self) -> None:
        """Kill once more after the last round, and compare everything."""
        self._kill()
        self.process.start()
        try:
            await self._compare(everything=True)
        finally:
            self._kill()


async def _look(client: Imap, name: str, first: int = 1) -> tuple[int, int, list[Found]]:
    """UIDVALIDITY, UIDNEXT and the messages of a folder from a UID on."""
    untagged = b"\n".join(await client.command(f"EXAMINE {name}"))
    validity = re.search(rb"\[UIDVALIDITY (\d+)\]", untagged)
    uid_next = re.search(rb"\[UIDNEXT (\d+)\]", untagged)
    assert validity is not None
    assert uid_next is not None
    found = []
    for response in await client.command(f"UID FETCH {first}:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
        uid = re.search(rb"UID (\d+)", response)
        flags = re.search(rb"FLAGS \(([^)]*)\)", response)
        token = re.search(rb"Subject: (\S+)", response)
        if uid is None or flags is None or token is None or int(uid[1]) < first:
            continue
        names = frozenset(flags[1].decode().split()) - {"\\Recent"}
        found.append(Found(int(uid[1]), token[1].decode(), names))
    return int(validity[1]), int(uid_next[1]), found


def _mount(directory: Path, octets: int, *, again: bool = False) -> None:
    options = f"size={octets}" + (",remount" if again else "")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own arguments


async def run_rounds(
    rounds: int, seed: int, *, load_seconds_max: float = 1.0, fault: str = "", show: Callable[[str], None] = print
) -> Crash:
    """All rounds in a new directory, which is removed when nothing is wrong."""
    root = Path(tempfile.mkdtemp(prefix="mailjam-crash-"))
    bytecode = tempfile.TemporaryDirectory(prefix="mailjam-crash-bytecode-")
    mounted = False
    if fault == "full":
        _mount(root, FULL_DISK_OCTETS)
        mounted = True
    crash = Crash(root / "data", seed, bytecode=Path(bytecode.name), load_seconds_max=load_seconds_max, fault=fault)
    crash.directory.mkdir()
    try:
        for number in range(1, rounds + 1):
            await crash.round()
            if crash.wrong or number % 10 == 0 or number == rounds:
                show(
                    f"round {number} of {rounds}: {crash.acknowledged:,} acknowledged, {crash.refused:,} refused,"
                    f" {len(crash.wrong)} wrong"
                )
            if crash.wrong:
                break
            if fault == "full":
                await asyncio.to_thread(_fill_again, crash)
        if not crash.wrong:
            await crash.finish()
    finally:
        crash.process.kill()
        bytecode.cleanup()
        if mounted:
            subprocess.run(["umount", str(root)], check=False)  # noqa: S603, S607, ASYNC221
        if not crash.wrong:
            shutil.rmtree(root)
    if crash.wrong:
        show(f"the data directory is kept: {crash.directory}")
    return crash


def _fill_again(crash: Crash) -> None:
    """The next round shall run out of room as well: what is free now, less a little, is taken away."""
    used = sum(path.stat().st_size for path in crash.directory.rglob("*") if path.is_file())
    with contextlib.suppress(subprocess.CalledProcessError):
        _mount(crash.directory.parent, used + FULL_DISK_OCTETS, again=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m harness.crash", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, help="kills (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of instants, messages and operations (%(default)s)")
    parser.add_argument("--fault", choices=("", "full", "writes"), default="", help="besides killing")
    parser.add_argument(
        "--fault-rounds", type=int, default=5, help="of each fault, after the rounds without (%(default)s)"
    )
    parsed = parser.parse_args(arguments)
    wrong: list[str] = []
    plan = [(parsed.fault, parsed.rounds)]
    if not parsed.fault and parsed.fault_rounds:
        plan += [("writes", parsed.fault_rounds), ("full", parsed.fault_rounds)]
    for fault, rounds in plan:
        print(f"== {fault or 'kill'}: {rounds} rounds, seed {parsed.seed}", flush=True)
        try:
            crash = asyncio.run(run_rounds(rounds, parsed.seed, fault=fault))
        except subprocess.CalledProcessError:
            print("skipped: a file system that fills up needs the right to mount a tmpfs")
            continue
        wrong.extend(crash.wrong)
        for text in crash.wrong[:50]:
            print(f"wrong: {text}")
    print(
        "nothing acknowledged was lost, no UID used again, nothing there twice" if not wrong else f"{len(wrong)} wrong"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
