"""Real POP3 clients against mailjam: in the clear, with STLS, and with TLS from the first octet."""

from __future__ import annotations

import asyncio
import poplib
import ssl
from pathlib import Path

import pytest

from emulator import certificates
from protocols.ports import Target

from .conftest import ClientWorld, need, run_program

pytestmark = pytest.mark.interop

MODES = ("plain", "stls", "implicit")
MESSAGES = [
    f"From: a@b.example\r\nTo: alice@x.example\r\nSubject: number {number}\r\nMessage-ID: <{number}@x.example>\r\n\r\n"
    f".dotted\r\nline {number}\r\n".encode()
    for number in range(1, 4)
]


class World(ClientWorld):
    """A server with three messages for alice, and where clients find it."""

    def port(self, mode: str) -> int:
        return self.server.addresses["pop3s" if mode == "implicit" else "pop3"][1]

    @property
    def inbox(self):  # type: ignore[no-untyped-def]
        return self.server.store.mailboxes["alice"].inbox

    async def run(self, *command: str | Path) -> str:
        """Run a program to its end; what it said. Fails the test when it does not succeed."""
        return await run_program(*command, folder=self.folder)


@pytest.fixture
async def world(start_server, tmp_path: Path) -> World:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"], pop3s_port=0, imap_port=None, nntp_port=None, smtp_port=None)
    mailbox = await server.directory.recipient("alice")
    for octets in MESSAGES:
        await server.converter.put(octets, [Target(mailbox.inbox)])
    return World(server, tmp_path)


def assert_all_there(mbox: bytes) -> None:
    lines = mbox.replace(b"\r\n", b"\n").splitlines()
    for number in (1, 2, 3):
        assert lines.count(b"Subject: number %d" % number) == 1
        assert lines.count(b"line %d" % number) == 1
    assert lines.count(b".dotted") == 3


@pytest.mark.parametrize("mode", MODES)
async def test_fetchmail(world: World, mode: str) -> None:
    program = need("fetchmail", "fetchmail")
    tls = f"sslcertck sslcertfile '{world.ca}'"
    options = {"plain": "sslproto ''", "stls": f"sslproto 'TLS1.2+' {tls}", "implicit": f"ssl {tls}"}[mode]
    mbox = world.folder / "mbox"
    rc = world.write(
        "fetchmailrc",
        f"poll localhost service {world.port(mode)} protocol POP3 user alice password secret {options} "
        f"fetchall mda \"/bin/sh -c 'cat >>{mbox}'\"\n",
    )
    ids, pid = world.folder / "ids", world.folder / "pid"
    await world.run(program, "-f", rc, "--nosyslog", "--pidfile", pid, "-i", ids)
    assert_all_there(mbox.read_bytes())
    assert not world.inbox.messages  # fetchmail deletes what it has delivered


@pytest.mark.parametrize("mode", ["plain", "implicit"])
async def test_getmail(world: World, mode: str) -> None:
    program = need("getmail", "getmail6")
    mbox = world.folder / "mbox"
    kind, more = (
        ("SimplePOP3SSLRetriever", f"ca_certs = {world.ca}\n") if mode == "implicit" else ("SimplePOP3Retriever", "")
    )
    rc = world.write(
        "getmailrc",
        f"[retriever]\ntype = {kind}\nserver = localhost\nport = {world.port(mode)}\nusername = alice\n"
        f"password = secret\n{more}[destination]\ntype = MDA_external\npath = /bin/sh\n"
        f'arguments = ("-c", "cat >>{mbox}")\nallow_root_commands = true\n[options]\ndelete = true\n',
    )
    await world.run(program, "-g", world.folder, "-r", rc)
    assert_all_there(mbox.read_bytes())
    assert not world.inbox.messages


@pytest.mark.parametrize("authentication", ["user", "apop", "plain", "cram-md5", "scram-sha-256"])
@pytest.mark.parametrize("mode", MODES)
async def test_mpop(world: World, mode: str, authentication: str) -> None:
    program = need("mpop", "mpop")
    tls = {"plain": "tls off", "stls": "tls on\ntls_starttls on", "implicit": "tls on\ntls_starttls off"}[mode]
    trust = "" if mode == "plain" else f"tls_trust_file {world.ca}\n"
    mbox = world.folder / "mbox"
    rc = world.write(
        "mpoprc",
        f"account default\nhost localhost\nport {world.port(mode)}\n{tls}\n{trust}auth {authentication}\nuser alice\n"
        f"password secret\ndelivery mbox {mbox}\nkeep off\nuidls_file {world.folder / 'uidls'}\n",
    )
    await world.run(program, "-C", rc)
    assert_all_there(mbox.read_bytes())
    assert not world.inbox.messages


@pytest.mark.parametrize("mode", MODES)
async def test_curl(world: World, mode: str) -> None:
    program = need("curl", "curl")
    scheme = "pop3s" if mode == "implicit" else "pop3"
    options = ["--ssl-reqd"] if mode == "stls" else []
    base = f"{scheme}://localhost:{world.port(mode)}/"
    common = [program, "-sS", "-m", "20", "--cacert", str(world.ca), "-u", "alice:secret", *options]
    assert (await world.run(*common, base)).split() == [
        "1",
        str(len(MESSAGES[0])),
        "2",
        str(len(MESSAGES[1])),
        "3",
        str(len(MESSAGES[2])),
    ]
    await world.run(*common, "-o", "two", f"{base}2")
    assert (world.folder / "two").read_bytes() == MESSAGES[1]
    assert "Subject: number 3" in await world.run(*common, "-X", "TOP 3 0", base)
    await world.run(*common, "-I", "-X", "DELE 1", base)
    assert len(world.inbox.messages) == 2


PERL = r"""
use strict; use Net::POP3;
my ($mode, $port, $ca) = @ARGV;
my @tls = $mode eq 'implicit' ? (SSL => 1) : ();
my $pop = Net::POP3->new('localhost', Port => $port, Timeout => 10, SSL_ca_file => $ca, @tls)
  or die "no connection: $@";
if ($mode eq 'stls') { $pop->starttls(SSL_ca_file => $ca) or die 'STLS ' . $pop->message }
my $count = $mode eq 'plain' ? $pop->apop('alice', 'secret') : $pop->login('alice', 'secret');
die 'login ' . $pop->message unless defined $count;
my $ids = $pop->uidl;
print scalar(keys %$ids), "\n";
for my $number (1 .. $count) { print @{ $pop->get($number) }; $pop->delete($number) or die 'DELE' }
$pop->reset; $pop->delete(1);
$pop->quit or die 'QUIT';
"""


@pytest.mark.parametrize("mode", MODES)
async def test_perl_net_pop3(world: World, mode: str) -> None:
    program = need("perl", "perl libio-socket-ssl-perl")
    script = world.write("pop3.pl", PERL)
    output = await world.run(program, script, mode, str(world.port(mode)), world.ca)
    count, _, messages = output.partition("\n")
    assert int(count) == 3
    assert_all_there(messages.encode())
    assert len(world.inbox.messages) == 2


def _poplib(mode: str, port: int, context: ssl.SSLContext) -> list[bytes]:
    client: poplib.POP3
    if mode == "implicit":
        client = poplib.POP3_SSL("localhost", port, timeout=10, context=context)
    else:
        client = poplib.POP3("localhost", port, timeout=10)
    if mode == "stls":
        client.stls(context)
    client.utf8()
    client.user("alice")
    client.pass_("secret")
    count, size = client.stat()
    assert size == sum(map(len, MESSAGES))
    assert len(client.uidl()[1]) == count
    assert client.top(1, 0)[1][-1] == b""
    found = [b"\r\n".join(client.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
    for number in range(1, count + 1):
        client.dele(number)
    client.noop()
    client.quit()
    return found


@pytest.mark.parametrize("mode", MODES)
async def test_poplib(world: World, mode: str) -> None:
    context = certificates.authority(None).client_context()
    assert await asyncio.to_thread(_poplib, mode, world.port(mode), context) == MESSAGES
    assert not world.inbox.messages
