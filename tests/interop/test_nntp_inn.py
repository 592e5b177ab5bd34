"""A real INN beside mailjam: articles pushed and pulled in both directions, and its answers to the reader's cases.

Where INN departs from a case is a table, `nntp_inn_differences.json`: for each case the line that it does not answer as
written, and what it says instead. `MAILJAM_CALIBRATE=1` writes the table anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from emulator.config import Newsfeed
from emulator.feeds import FeedWorker
from emulator.server import Server
from harness.clients import NntpClient
from harness.dialogue import Case, DialogueError, read_cases, run_case
from protocols.ports import Target

from .conftest import free_port

pytestmark = pytest.mark.interop

BINARIES = Path("/usr/lib/news/bin")
DIFFERENCES = Path(__file__).with_name("nntp_inn_differences.json")
CASES = [
    case
    for case in read_cases(Path(__file__).parent.parent / "dialogues" / "nntp", "rfc[23]*.txt")
    if not case.values("set")
    and not case.values("user")
    and not case.where.startswith("rfc3977-ihave")
    and all("Message-ID:" in message and "Date:" in message for message in case.values("message"))
    and "mailjam.test!" not in str(case.steps)
]
"""Those of readers that need nothing but newsgroups and complete articles."""

INN_CONF = """
mta: "/bin/true"
organization: "none"
ovmethod: tradindexed
hismethod: hisv6
pathhost: mailjam.test
pathnews: /usr/lib/news
domain: inn.test
fromhost: inn.test
artcutoff: 0
nnrpdloadlimit: 1000
port: {port}
bindaddress: 127.0.0.1
enableoverview: true
storeonxref: true
wireformat: true
allownewnews: true
nnrpdcheckart: true
addinjectiondate: false
pathetc: {folder}/etc
pathdb: {folder}/db
pathspool: {folder}/spool
patharticles: {folder}/spool/articles
pathoverview: {folder}/spool/overview
pathoutgoing: {folder}/spool/outgoing
pathincoming: {folder}/spool/incoming
patharchive: {folder}/spool/archive
pathtmp: {folder}/tmp
pathrun: {folder}/run
pathlog: {folder}/log
pathfilter: {folder}/etc/filter
"""
FILES = {
    "etc/storage.conf": "method tradspool {\n    newsgroups: *\n    class: 0\n}\n",
    "etc/incoming.conf": 'streaming: true\nmax-connections: 8\npeer ME {\n  hostname: "127.0.0.1"\n}\n',
    "etc/newsfeeds": "ME:!*::\nout:*:Tf,Wnm:\n",
    "etc/readers.conf": 'auth "all" {\n hosts: "*"\n default: "all"\n}\naccess "all" {\n users: "all"\n'
    ' newsgroups: "*,!control,!control.*,!junk"\n access: RPANI\n}\n',
    "etc/expire.ctl": "/remember/:0\n*:A:1:10:never\n",
    "etc/control.ctl": "all:*:*:drop\n",
    "etc/moderators": "",
    "etc/passwd.nntp": "",
    "etc/inn-secrets.conf": "",
    "etc/ovsqlite.conf": "",
    "db/history": "",
    "db/active.times": "",
}


class Inn:
    """An instance of its own below one folder: innd for peers, nnrpd for readers."""

    def __init__(self, folder: Path, groups: tuple[str, ...]) -> None:
        self.folder = folder
        self.port, self.reader_port = free_port(), free_port()
        for name in ("etc/filter", "db", "tmp", "run", "log", "spool/overview", "spool/outgoing", "spool/archive"):
            (folder / name).mkdir(parents=True)
        for name in ("spool/articles", "spool/incoming/bad"):
            (folder / name).mkdir(parents=True)
        for name, text in FILES.items():
            (folder / name).write_text(text)
        (folder / "etc/inn.conf").write_text(INN_CONF.format(folder=folder, port=self.port))
        (folder / "db/active").write_text(
            "".join(f"{group} 0000000000 0000000001 n\n" for group in ("control", "control.cancel", "junk"))
            + "".join(f"{group} 0000000000 0000000001 y\n" for group in groups)
        )
        (folder / "db/newsgroups").write_text("".join(f"{group}\tA group\n" for group in groups))
        (folder / "db/active.times").write_text("".join(f"{group} {int(time.time())} news\n" for group in groups))
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, "news", "news")
        self.run("makedbz", "-i", "-o", "-f", folder / "db/history")
        self.processes = [self.start("innd", "-d", "-P", str(self.port))]
        self.wait(self.port)
        self.processes.append(self.start("nnrpd", "-D", "-f", "-b", "127.0.0.1", "-p", str(self.reader_port)))
        self.wait(self.reader_port)

    @property
    def environment(self) -> dict[str, str]:
        return {"INNCONF": str(self.folder / "etc/inn.conf"), "PATH": f"{BINARIES}:/usr/bin:/bin", "LC_ALL": "C"}

    def run(self, program: str, *arguments: str | Path, allowed: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [BINARIES / program, *arguments],
            env=self.environment,
            cwd=self.folder,
            user="news",
            group="news",
            capture_output=True,
            timeout=40,
            check=False,
        )
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert done.returncode in allowed, text
        return text

    def start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{program}.out").open("wb") as out:
            return subprocess.Popen(
                [BINARIES / program, *arguments],
                env=self.environment,
                cwd=self.folder,
                user="news",
                group="news",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def wait(self, port: int) -> None:
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return
            except OSError:
                time.sleep(0.02)
        said = "\n".join(path.read_text() for path in self.folder.glob("*.out"))
        raise AssertionError(f"INN does not listen: {said}")

    def stop(self) -> None:
        # innd takes seconds to end by itself, and nothing of this instance is kept
        for process in self.processes:
            process.kill()
            process.wait(5)


@pytest.fixture
def start_inn() -> Iterator[Callable[[tuple[str, ...]], Inn]]:
    """Start INNs below folders that its own user can reach."""
    if not (BINARIES / "innd").exists() or os.geteuid() != 0:
        pytest.skip("INN is not here, or this is not root: apt-get install inn2")
    running: list[Inn] = []
    folders: list[tempfile.TemporaryDirectory[str]] = []

    def start(groups: tuple[str, ...]) -> Inn:
        folders.append(tempfile.TemporaryDirectory())
        path = Path(folders[-1].name)
        path.chmod(0o755)
        running.append(Inn(path / "inn", groups))
        return running[-1]

    (yield start)
    for inn in running:
        inn.stop()
    for folder in folders:
        folder.cleanup()


def article(number: int, group: str = "misc.test") -> bytes:
    return (
        f"Path: origin.example!not-for-mail\r\nFrom: a@b.example\r\nNewsgroups: {group}\r\nSubject: {number}\r\n"
        f"Date: Mon, 01 Jan 2024 12:00:00 +0000\r\nMessage-ID: <{number}@x.example>\r\n\r\n.body {number}\r\n"
    ).encode()


def worker(server: Server, **fields: Any) -> FeedWorker:
    feed = Newsfeed(host="127.0.0.1", identity="inn.test", **fields)
    return FeedWorker(feed, server.settings, server.services, server.store, server.bus, context=None)


async def test_push_to_inn_and_pull_from_it(start_inn, start_server) -> None:  # type: ignore[no-untyped-def]
    inn = await asyncio.to_thread(start_inn, ("misc.test",))
    near = await start_server(groups=("misc.test",), hostname="near.test")
    for number in range(1, 31):
        await near.converter.put(article(number), [Target(near.store.newsgroups["misc.test"])])
    result = await worker(near, pulls=False, port=inn.port).round()
    assert (result.offered, result.transferred, result.refused, result.error) == (30, 30, 0, "")
    third = await start_server(groups=("misc.test",), hostname="third.test")
    result = await worker(third, pulls=True, port=inn.reader_port, groups="misc.*").round()
    assert (result.offered, result.transferred, result.refused, result.error) == (30, 30, 0, "")
    messages = third.store.newsgroups["misc.test"].messages
    for number, message in enumerate(messages, 1):
        octets = await third.converter.octets(message)
        path, _, rest = octets.partition(b"\r\n")
        assert path.startswith(b"Path: third.test!.SEEN.127.0.0.1!mailjam.test!")
        assert path.endswith(b"!origin.example!not-for-mail")
        assert rest == article(number).partition(b"\r\n")[2]


async def test_inn_pushes_by_innxmit(start_inn, start_server) -> None:  # type: ignore[no-untyped-def]
    inn = await asyncio.to_thread(start_inn, ("misc.test",))
    server = await start_server(groups=("misc.test",), hostname="near.test")
    async with await NntpClient.connect(("127.0.0.1", inn.port)) as client:
        for number in range(1, 21):
            await client.command(f"IHAVE <{number}@x.example>", 335)
            client.write(article(number).replace(b"\r\n.", b"\r\n..") + b".\r\n")
            assert (await client.line()).startswith(b"235")
    await asyncio.to_thread(inn.run, "ctlinnd", "flush", "out")
    batch = inn.folder / "spool/outgoing/out"
    port = str(server.addresses["nntp"][1])
    await asyncio.to_thread(inn.run, "innxmit", "-P", port, "127.0.0.1", batch)
    messages = server.store.newsgroups["misc.test"].messages
    assert len(messages) == 20
    octets = await server.converter.octets(messages[0])
    assert octets.startswith(b"Path: near.test!.SEEN.127.0.0.1!mailjam.test!")
    assert octets.endswith(b"\r\n\r\n.body 1\r\n")
    assert b"\r\nXref:" not in octets


async def feed(inn: Inn, case: Case) -> None:
    """Give INN the articles that the case needs."""
    if not case.values("message"):
        return
    async with await NntpClient.connect(("127.0.0.1", inn.port)) as client:
        for value in case.values("message"):
            octets = value.partition("\n")[2].replace("\n", "\r\n").encode() + b"\r\n"
            name = re.search(rb"(?m)^Message-ID: (\S+)", octets)
            assert name
            await client.command(f"IHAVE {name[1].decode()}", 335)
            client.write(octets.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            assert (await client.line()).startswith(b"235"), value


async def departure(case: Case, port: int) -> str | None:
    """Where the server at `port` departs from the case, in one line, or None."""
    try:
        await run_case(case, lambda: asyncio.open_connection("127.0.0.1", port), line_seconds_max=10)
    except DialogueError as error:
        expected, got = str(error).splitlines()[-2:]
        wanted = re.sub(r"^ *line \d+ expects: ", "", expected)
        # times, ports and generated identifiers differ from run to run
        said = re.sub(r"<\S+\$\S+>|[0-9]{6,}|\$\S+", "…", got.removeprefix("  got: "))
        return f"{wanted} | {said}"
    except ConnectionError:
        return "the connection stays | closed"
    return None


def needs_of(case: Case) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """What the case needs to be there; a case that posts changes it, so that nobody may share it."""
    posts = any(step.text == "POST" for step in case.steps)
    return tuple(case.values("group")), tuple(case.values("message")), case.title if posts else ""


@pytest.mark.timeout(900)
async def test_where_inn_departs_from_the_cases(start_inn) -> None:  # type: ignore[no-untyped-def]
    found = {}
    for needs, cases in groupby(sorted(CASES, key=needs_of), key=needs_of):
        inn = await asyncio.to_thread(start_inn, needs[0])
        try:
            for number, case in enumerate(cases):
                if not number:
                    await feed(inn, case)
                difference = await departure(case, inn.reader_port)
                if difference is not None:
                    found[case.title] = difference
        finally:
            await asyncio.to_thread(inn.stop)
    if os.environ.get("MAILJAM_CALIBRATE"):
        DIFFERENCES.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    known = json.loads(DIFFERENCES.read_text())
    new = {title: found[title] for title in found.keys() - known.keys()}
    assert not new
    assert len(CASES) - len(found) >= len(CASES) // 2, "most cases hold for INN too"
