"""Real IMAP clients against mailjam over TLS: upgraded (STARTTLS) and from the first octet.

What they do in the clear is in test_imap_clients.py; here each reads messages, and trusts mailjam's authority alone.
"""

from __future__ import annotations

import asyncio
import imaplib
import os
import ssl
from pathlib import Path
from typing import Any

import pytest

from protocols.ports import Target

from .conftest import ImapWorld, need

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

MODES = ("starttls", "implicit")
MESSAGES = [
    f"From: Bob <bob@x.example>\r\nTo: alice@x.example\r\nSubject: number {number}\r\n"
    f"Message-ID: <{number}@x.example>\r\n\r\nline {number}\r\n".encode()
    for number in range(1, 4)
]


class World(ImapWorld):
    """A server with three messages for alice, and a folder for the clients' files."""

    def __init__(self, server: Any, folder: Path) -> None:
        super().__init__(server, folder)
        self.ports = {mode: server.addresses[name][1] for mode, name in zip(MODES, ("imap", "imaps"), strict=True)}

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def read(self) -> set[int]:
        """UIDs of what has been read."""
        inbox = self.server.store.mailboxes["alice"].inbox
        return {message.uid for message in inbox.messages if "\\Seen" in message.flags}


@pytest.fixture
async def world(start_server: Any, tmp_path: Path) -> World:
    server = await start_server(users=["alice:secret"], imaps_port=0, smtp_port=None, pop3_port=None, nntp_port=None)
    mailbox = await server.directory.recipient("alice")
    for octets in MESSAGES:
        await server.converter.put(octets, [Target(mailbox.inbox)])
    return World(server, tmp_path)


def assert_all_there(files: list[Path]) -> None:
    text = b"".join(path.read_bytes() for path in files)
    for number in (1, 2, 3):
        assert text.count(b"Subject: number %d" % number) == text.count(b"line %d" % number) == 1


# --- programs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_mbsync(world: World, mode: str) -> None:
    program = need("mbsync", "isync")
    local = world.folder / "mail"
    local.mkdir()
    rc = world.write(
        "mbsyncrc",
        f"IMAPAccount a\nHost localhost\nPort {world.ports[mode]}\nUser alice\nPass secret\n"
        f"SSLType {'STARTTLS' if mode == 'starttls' else 'IMAPS'}\nCertificateFile {world.ca}\n\n"
        f"IMAPStore far\nAccount a\n\nMaildirStore near\nPath {local}/\nInbox {local}/INBOX\n\n"
        "Channel c\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSyncState *\n",
    )
    await world.run(program, "-c", rc, "c")
    assert_all_there(list((local / "INBOX").glob("*/*S=*")) or list((local / "INBOX").glob("[cn]*/*")))


@pytest.mark.parametrize("mode", MODES)
async def test_offlineimap(world: World, mode: str) -> None:
    program = need("offlineimap", "offlineimap3")
    security = "ssl = no\nstarttls = yes\n" if mode == "starttls" else "ssl = yes\nstarttls = no\n"
    rc = world.write(
        "offlineimaprc",
        f"[general]\naccounts = a\nui = basic\nmetadata = {world.folder}/meta\n[Account a]\nlocalrepository = l\n"
        f"remoterepository = r\n[Repository l]\ntype = Maildir\nlocalfolders = {world.folder}/mail\n"
        f"[Repository r]\ntype = IMAP\nremotehost = localhost\nremoteport = {world.ports[mode]}\nremoteuser = alice\n"
        f"remotepass = secret\n{security}sslcacertfile = {world.ca}\nfolderfilter = lambda name: name == 'INBOX'\n",
    )
    await world.run(program, "-c", rc, "-o")
    assert_all_there(list((world.folder / "mail" / "INBOX").glob("[cn]*/*")))


@pytest.mark.parametrize("mode", MODES)
async def test_fetchmail(world: World, mode: str) -> None:
    program = need("fetchmail", "fetchmail")
    mbox = world.folder / "mbox"
    tls = ("sslproto 'TLS1.2+'" if mode == "starttls" else "ssl") + f" sslcertck sslcertfile '{world.ca}'"
    rc = world.write(
        "fetchmailrc",
        f"poll localhost service {world.ports[mode]} protocol IMAP user alice password secret {tls} fetchall keep "
        f"mda \"/bin/sh -c 'cat >>{mbox}'\"\n",
    )
    await world.run(program, "-f", rc, "--nosyslog", "--pidfile", world.folder / "pid", "-i", world.folder / "ids")
    assert_all_there([mbox])


async def test_getmail(world: World) -> None:
    program = need("getmail", "getmail6")
    mbox = world.folder / "mbox"
    world.write(
        "getmailrc",
        f"[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\nport = {world.ports['implicit']}\n"
        f'username = alice\npassword = secret\nca_certs = {world.ca}\nmailboxes = ("INBOX",)\n'
        f'[destination]\ntype = MDA_external\npath = /bin/sh\narguments = ("-c", "cat >>{mbox}")\n'
        "allow_root_commands = true\n",
    )
    await world.run(program, "--getmaildir", world.folder, "--rcfile", "getmailrc")
    assert_all_there([mbox])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("program", ["neomutt", "mutt"])
async def test_mutt(world: World, program: str, mode: str) -> None:
    path = need(program, program)
    url = f"{'imap' if mode == 'starttls' else 'imaps'}://alice@localhost:{world.ports[mode]}/"
    rc = world.write(
        "muttrc",
        f"set folder={url}\nset spoolfile={url}INBOX\nset imap_pass=secret\nset ssl_starttls=yes\n"
        f"set ssl_force_tls=yes\nset certificate_file={world.ca}\nset quit=yes\nset move=no\nset copy=no\nset record=\n"
        "set ssl_usesystemcerts=no\n",
    )
    need("script", "bsdutils")
    script = f"{path} -n -F {rc} -e 'push \"<first-entry><display-message><exit><quit>\"'"
    await world.run("script", "-qec", script, "/dev/null", may_fail=True, TERM="xterm")
    assert world.read() == {1}


@pytest.mark.parametrize("mode", MODES)
async def test_curl(world: World, mode: str) -> None:
    program = need("curl", "curl")
    scheme, more = ("imap", ["--ssl-reqd"]) if mode == "starttls" else ("imaps", [])
    url = f"{scheme}://localhost:{world.ports[mode]}/INBOX;MAILINDEX=2"
    assert "line 2" in await world.run(program, "-sS", "--cacert", world.ca, *more, "-u", "alice:secret", url)


@pytest.mark.parametrize("mode", MODES)
async def test_imapfilter(world: World, mode: str) -> None:
    program = need("imapfilter", "imapfilter")
    tls = "" if mode == "starttls" else ", ssl = 'auto'"
    rc = world.write(
        "config.lua",
        f"options.starttls = true\noptions.certificates = true\na = IMAP {{ server = 'localhost', "
        f"port = {world.ports[mode]}, username = 'alice', password = 'secret'{tls} }}\n"
        "a.INBOX:contain_subject('number 1'):mark_seen()\n",
    )
    await world.run(program, "-c", rc, "-t", world.ca)
    assert world.read() == {1}


@pytest.mark.parametrize("mode", MODES)
async def test_perl_mail_imapclient(world: World, mode: str) -> None:
    program = need("perl", "perl libmail-imapclient-perl")
    modules = ("-MMail::IMAPClient", "-MIO::Socket::SSL")
    if "ok" not in await world.run(program, *modules, "-e", "print 'ok'", may_fail=True):
        pytest.skip("Mail::IMAPClient is not here: apt-get install libmail-imapclient-perl libio-socket-ssl-perl")
    option = "Starttls" if mode == "starttls" else "Ssl"
    script = (
        f"my $c = Mail::IMAPClient->new(Server => 'localhost', Port => {world.ports[mode]}, User => 'alice',"
        f" Password => 'secret', {option} => [SSL_ca_file => '{world.ca}']) or die $@;"
        "$c->select('INBOX') or die; die 'text' unless $c->message_string(3) =~ /line 3/; $c->logout; print 'done'"
    )
    assert "done" in await world.run(program, *modules, "-e", script)


@pytest.mark.parametrize("mode", MODES)
async def test_imapflow(world: World, mode: str) -> None:
    program = need("node", "nodejs npm; npm install imapflow")
    modules = os.environ.get("NODE_PATH", "")
    found = await world.run(program, "-e", "require('imapflow'); console.log('ok')", may_fail=True, NODE_PATH=modules)
    if "ok" not in found.splitlines():
        pytest.skip("imapflow is not here: npm install imapflow, and NODE_PATH=…/node_modules")
    secure = "secure: false, doSTARTTLS: true" if mode == "starttls" else "secure: true"
    script = (
        "const { ImapFlow } = require('imapflow'); (async () => {"
        f"const c = new ImapFlow({{ host: 'localhost', port: {world.ports[mode]}, {secure}, logger: false,"
        " auth: { user: 'alice', pass: 'secret' } }); await c.connect(); await c.mailboxOpen('INBOX');"
        "console.log((await c.fetchOne('2', { source: true })).source.toString()); await c.logout(); })()"
    )
    assert "line 2" in await world.run(program, "-e", script, NODE_PATH=modules, NODE_EXTRA_CA_CERTS=str(world.ca))


# --- Python libraries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_imaplib(world: World, mode: str) -> None:
    def walk() -> None:
        port, context = world.ports[mode], world.context()
        if mode == "implicit":
            client: imaplib.IMAP4 = imaplib.IMAP4_SSL("localhost", port, ssl_context=context)
        else:
            client = imaplib.IMAP4("localhost", port)
            client.starttls(context)
        client.login("alice", "secret")
        client.select()
        assert b"line 1" in client.fetch("1", "(RFC822)")[1][0][1]  # type: ignore[index]
        client.logout()

    await asyncio.to_thread(walk)


@pytest.mark.parametrize("mode", MODES)
async def test_imapclient(world: World, mode: str) -> None:
    imapclient = pytest.importorskip("imapclient", reason="pip install imapclient")

    def walk() -> None:
        implicit, context = mode == "implicit", world.context()
        client = imapclient.IMAPClient("localhost", world.ports[mode], ssl=implicit, ssl_context=context)
        if not implicit:
            client.starttls(context)
        client.login("alice", "secret")
        client.select_folder("INBOX")
        assert client.fetch([3], ["BODY[TEXT]"])[3][b"BODY[TEXT]"] == b"line 3\r\n"
        client.logout()

    await asyncio.to_thread(walk)


@pytest.mark.parametrize("mode", MODES)
async def test_imap_tools(world: World, mode: str) -> None:
    imap_tools = pytest.importorskip("imap_tools", reason="pip install imap-tools")

    def walk() -> None:
        kind = imap_tools.MailBoxStartTls if mode == "starttls" else imap_tools.MailBox
        with kind("localhost", world.ports[mode], ssl_context=world.context()).login("alice", "secret") as box:
            assert [message.subject for message in box.fetch()] == ["number 1", "number 2", "number 3"]

    await asyncio.to_thread(walk)


async def test_aioimaplib(world: World) -> None:
    aioimaplib = pytest.importorskip("aioimaplib", reason="pip install aioimaplib")
    client = aioimaplib.IMAP4_SSL("localhost", world.ports["implicit"], timeout=10, ssl_context=world.context())
    await client.wait_hello_from_server()
    assert (await client.login("alice", "secret")).result == "OK"
    assert (await client.select()).result == "OK"
    assert b"line 2" in bytes((await client.fetch("2", "(RFC822)")).lines[1])
    await client.logout()
