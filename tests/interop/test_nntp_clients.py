"""Real newsreaders and pullers against mailjam: in the clear, with STARTTLS, and with TLS from the first octet."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pty
import select
import shutil
import signal
import tempfile
import time
from datetime import datetime
from pathlib import Path

import pytest

from emulator.server import Server
from protocols.ports import Target

from .conftest import ClientWorld, need, run_program

pytestmark = pytest.mark.interop

MODES = ("plain", "starttls", "implicit")
ARTICLES = [
    f'Path: news.example!not-for-mail\r\nFrom: "Demo" <demo@example.com>\r\nNewsgroups: misc.test\r\n'
    f"Subject: number {number}\r\nDate: Mon, 01 Jan 2024 12:00:00 +0000\r\nMessage-ID: <{number}@example.com>\r\n\r\n"
    f"line {number}\r\n.dotted\r\n".encode()
    for number in range(1, 4)
]


class World(ClientWorld):
    """A server with three articles in misc.test, and where clients find it."""

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__(server, folder)
        self.group = server.store.newsgroups["misc.test"]

    def port(self, mode: str) -> int:
        return self.server.addresses["nntps" if mode == "implicit" else "nntp"][1]

    async def run(self, *command: str | Path, cwd: Path | None = None, allowed: tuple[int, ...] = (0,)) -> str:
        """Run a program to its end; what it said. Fails the test when it does not succeed."""
        about = {"NNTPSERVER": "localhost", "SSL_CERT_FILE": str(self.ca), "TERM": "vt100", "MAIL": ""}
        return await run_program(*command, folder=cwd or self.folder, environment=about, allowed=allowed)


@pytest.fixture
async def world(start_server, tmp_path: Path) -> World:  # type: ignore[no-untyped-def]
    server = await start_server(
        users=["alice:secret"],
        groups=("misc.test", "alt.test"),
        nntps_port=0,
        imap_port=None,
        pop3_port=None,
        smtp_port=None,
    )
    for octets in ARTICLES:
        await server.converter.put(octets, [Target(server.store.newsgroups["misc.test"])])
    return World(server, tmp_path)


def assert_all_there(texts: list[str]) -> None:
    """Each article once, its body as it was."""
    assert len(texts) == 3
    for number in (1, 2, 3):
        (text,) = [text for text in texts if f"Subject: number {number}\n" in text.replace("\r\n", "\n")]
        assert f"\n\nline {number}\n.dotted\n" in text.replace("\r\n", "\n")


@pytest.mark.parametrize("mode", ["plain", "implicit"])
async def test_slrnpull(world: World, mode: str) -> None:
    program = need("slrnpull", "slrnpull")
    world.write("spool/slrnpull.conf", "default 100\nmisc.test\n")
    spool = world.folder / "spool"
    outgoing = spool / "out.going"
    outgoing.mkdir()
    world.write("spool/out.going/X1", "From: a@b.example\nNewsgroups: alt.test\nSubject: posted\n\ntext\n")
    host = f"{'snews://' if mode == 'implicit' else ''}localhost:{world.port(mode)}"
    await world.run(program, "-d", spool, "-h", host, "--logfile", world.folder / "log")
    assert_all_there([path.read_text() for path in (spool / "news" / "misc" / "test").glob("[0-9]*")])
    (posted,) = world.server.store.newsgroups["alt.test"].messages
    assert (await world.server.converter.octets(posted)).endswith(b"\r\n\r\ntext\r\n")


@pytest.mark.parametrize("mode", ["plain", "implicit"])
async def test_tin(world: World, mode: str) -> None:
    program = need("tin", "tin")
    newsrc = world.write("newsrc", "misc.test: \n")
    world.write(".tin/tinrc", "default_save_mode=o\n")
    tls = ["-T", "-k"] if mode == "implicit" else []
    common = [program, "-r", "-g", "localhost", "-p", str(world.port(mode)), *tls, "-f", newsrc, "-n"]
    # -Z: the exit code says whether there is anything unread (2)
    assert "3 unread" in await world.run(*common, "-Z", "-v", allowed=(2,))
    await world.run(*common, "-S", "-v", "-s", world.folder / "saved")
    assert_all_there([path.read_text() for path in (world.folder / "saved" / "misc" / "test").iterdir()])


@pytest.mark.parametrize("mode", ["plain", "implicit"])
async def test_suck(world: World, mode: str) -> None:
    program = need("suck", "suck")
    world.write("sucknewsrc", "misc.test 0\n")
    options = ["-c", "-m", "-dd", ".", "-dm", ".", "-dt", ".", "-hl", "localhost"]
    tls = ["-ssl"] if mode == "implicit" else []
    await world.run(program, "localhost", *tls, "-N", str(world.port(mode)), *options)
    assert_all_there([path.read_text() for path in world.folder.glob("[0-9]*-[0-9]*")])


@pytest.mark.parametrize("mode", MODES)
async def test_pullnews_from_one_server_to_another(world: World, mode: str, start_server) -> None:  # type: ignore[no-untyped-def]
    program = need("pullnews", "inn2 libio-socket-ssl-perl")
    target = await start_server(groups=("misc.test",), hostname="other.test", nntps_port=0)
    tls = {"plain": "", "starttls": "_STARTTLS", "implicit": "_TLS"}[mode]
    marks = world.write("marks", f"localhost:{world.port(mode)}{tls}\n    misc.test\n")
    port = target.addresses["nntps" if mode == "implicit" else "nntp"][1]
    await world.run("perl", program, "-c", marks, "-s", f"localhost:{port}{tls}")
    messages = target.store.newsgroups["misc.test"].messages
    octets = [await target.converter.octets(message) for message in messages]
    assert_all_there([article.decode() for article in octets])
    assert all(article.startswith(b"Path: other.test!.SEEN.127.0.0.1!") for article in octets)


LEAFNODE = Path(__file__).parents[2] / ".ci" / "leafnode"
"""Unpacked there, for as a package it excludes inn2."""
IN_ITS_PLACE = "mount --bind {0}/etc /etc/news && mount --bind {0}/spool /var/spool/news && exec {1} -vvv -w"


async def test_fetchnews_of_leafnode(world: World) -> None:
    program = LEAFNODE / "usr" / "sbin" / "fetchnews"
    if not program.exists():
        pytest.skip(f"leafnode is not here: apt-get download leafnode && dpkg -x leafnode_*.deb {LEAFNODE}")
    if os.geteuid():
        pytest.skip("fetchnews reads /etc/news alone, into which only root may mount: run as root")
    # the directories that are compiled into it are ours in a mount namespace of its own
    base = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="mailjam-leafnode-"))
    try:
        for name in ("leaf.node", "failed.postings", "interesting.groups", "message.id", "out.going", "temp.files"):
            (base / "spool" / name).mkdir(parents=True)
        (base / "spool" / "interesting.groups" / "misc.test").touch()
        (base / "spool" / "out.going" / "1").write_text(
            "From: a@b.example\nNewsgroups: alt.test\nSubject: posted\nMessage-ID: <posted@leaf.example>\n\ntext\n"
        )
        (base / "etc" / "leafnode").mkdir(parents=True)
        (base / "etc" / "leafnode" / "config").write_text(
            f"server = localhost\nport = {world.port('plain')}\nusername = alice\npassword = secret\n"
            "expire = 30000\nmaxage = 30000\nhostname = leafnode.mailjam-tests.org\n"
        )
        for path in (base, *base.rglob("*")):
            shutil.chown(path, "news", "news")
        await world.run("unshare", "--mount", "sh", "-c", IN_ITS_PLACE.format(base, program))
        assert_all_there([path.read_text() for path in (base / "spool" / "misc" / "test").glob("[0-9]*")])
    finally:
        shutil.rmtree(base)
    (posted,) = world.server.store.newsgroups["alt.test"].messages
    assert (await world.server.converter.octets(posted)).endswith(b"\r\n\r\ntext\r\n")


def _slrn(folder: Path, arguments: list[str], steps: list[tuple[str, bytes]]) -> str:
    """Run slrn on a terminal of its own: press each key once its text has come; what it said to the end."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        environment = {"HOME": str(folder), "TERM": "vt100", "PATH": "/usr/bin:/bin", "LINES": "24", "COLUMNS": "80"}
        os.execvpe(arguments[0], arguments, environment)
    said = b""
    left = list(steps)
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.5)[0]:
                continue
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if not data:
                break
            said += data
            # the cursor is moved between letters that stand there already: only whole words are looked for
            while left and left[0][0].encode() in said:
                os.write(terminal, left.pop(0)[1])
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)
    assert not left, said.decode("utf-8", "replace")
    return said.decode("utf-8", "replace")


@pytest.mark.parametrize("mode", ["plain", "implicit"])
async def test_slrn(world: World, mode: str) -> None:
    program = need("slrn", "slrn")
    rc = world.write(".slrnrc", 'set hostname "x.example"\nset username "a"\n')
    newsrc = world.write("newsrc", "misc.test:\n")
    host = "snews://localhost" if mode == "implicit" else "localhost"
    arguments = [program, "-h", host, "-p", str(world.port(mode)), "-i", str(rc), "-f", str(newsrc)]
    steps = [
        ("News Groups: ", b" "),
        ("3 unread", b" "),
        ("line 1", b"q"),
        ("newsrc.as", b"q"),
        ("really want to quit", b"y"),
    ]
    said = await asyncio.to_thread(_slrn, world.folder, arguments, steps)
    assert "XOVER support disabled" not in said
    assert "misc.test: 1" in newsrc.read_text()  # the article that was read


PERL = r"""
use strict; use Net::NNTP;
my ($mode, $port, $ca) = @ARGV;
my @tls = $mode eq 'implicit' ? (SSL => 1) : ();
my $news = Net::NNTP->new('localhost', Port => $port, Timeout => 10, SSL_ca_file => $ca, @tls) or die "connect: $@";
if ($mode eq 'starttls') { $news->starttls(SSL_ca_file => $ca) or die 'STARTTLS ' . $news->message }
$news->authinfo('alice', 'secret') or die 'AUTHINFO ' . $news->message;
my ($count, $first, $last, $name) = $news->group('misc.test');
die 'GROUP' unless $count == 3 && $first == 1 && $last == 3 && $name eq 'misc.test';
for my $number ($first .. $last) { print @{ $news->article($number) }, "\f" }
die 'XOVER' unless keys %{ $news->xover([1, 3]) } == 3;
die 'XHDR' unless ${ $news->xhdr('Subject', [1, 3]) }{2} =~ /^number 2\s*$/;
die 'XPAT' unless keys %{ $news->xpat('Subject', '*3', [1, 3]) } == 1;
die 'LIST' unless join(',', sort keys %{ $news->list }) eq 'alt.test,misc.test';
die 'NEWGROUPS' unless keys %{ $news->newgroups(0) } == 2;
die 'NEWNEWS' unless @{ $news->newnews(0, 'misc.*') } == 3;
die 'DATE' unless abs($news->date - time) < 60;
die 'LAST' unless $news->last eq '<2@example.com>';
die 'POST ' . $news->message unless
  $news->post("From: a\@b.example\n", "Newsgroups: alt.test\n", "Subject: posted\n", "\n", ".text\n");
die 'IHAVE' if $news->ihave('<1@example.com>', 'x');
$news->quit;
"""


@pytest.mark.parametrize("mode", MODES)
async def test_perl_net_nntp(world: World, mode: str) -> None:
    program = need("perl", "perl libio-socket-ssl-perl")
    output = await world.run(program, world.write("nntp.pl", PERL), mode, str(world.port(mode)), world.ca)
    assert_all_there(output.split("\f")[:-1])
    (posted,) = world.server.store.newsgroups["alt.test"].messages
    assert (await world.server.converter.octets(posted)).endswith(b"\r\n\r\n.text\r\n")


def _pynntp(mode: str, port: int) -> list[str]:
    from nntp import NNTPClient
    from nntp.nntp import SSLMode

    tls = {} if mode == "plain" else {"use_ssl": True, "ssl_mode": SSLMode(mode)}
    with NNTPClient("localhost", port, "alice", "secret", timeout=10, **tls) as client:
        count, first, last, name = client.group("misc.test")
        assert (count, name) == (3, "misc.test")
        assert {first, last} == {1, 3}  # the library's names for them are the other way round
        assert {group.name for group in client.list_active()} == {"misc.test", "alt.test"}
        overview = list(client.xover((1, 3)))
        assert [fields["Subject"] for _, fields in overview] == [f"number {n}" for n in (1, 2, 3)]
        assert len(list(client.newnews("*", datetime(2020, 1, 1)))) == 3
        assert client.post({"From": "a@b.example", "Newsgroups": "alt.test", "Subject": "posted"}, b"text\r\n")
        found = []
        for number in (1, 2, 3):
            assert client.article(number)[0] == number
            found.append(client.head(number)["Subject"])
        return found


@pytest.mark.parametrize("mode", MODES)
async def test_pynntp(world: World, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("nntp") is None:
        pytest.skip("pynntp is not here: pip install pynntp")
    monkeypatch.setenv("SSL_CERT_FILE", str(world.ca))  # the library uses what OpenSSL trusts
    subjects = await asyncio.to_thread(_pynntp, mode, world.port(mode))
    assert [subject.strip() for subject in subjects] == [f"number {n}" for n in (1, 2, 3)]
    assert len(world.server.store.newsgroups["alt.test"].messages) == 1
