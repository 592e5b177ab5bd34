"""Real SMTP clients: plain, STARTTLS and implicit TLS, each with a login, each message read back."""

from __future__ import annotations

import asyncio
import os
import smtplib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from emulator import certificates
from emulator.server import Server

from .conftest import need, run_program

pytestmark = pytest.mark.interop

PLAIN, STARTTLS, IMPLICIT = "plain", "starttls", "implicit"
MODES = (PLAIN, STARTTLS, IMPLICIT)
BODY = ".a line with a dot\r\ngr\u00fc\u00dfe\r\n"
MESSAGE = f"From: bob@x.example\r\nTo: alice@x.example\r\nSubject: interop\r\n\r\n{BODY}"


@dataclass(slots=True)
class Meeting:
    """A server and how to reach it."""

    server: Server
    mode: str
    folder: Path

    @property
    def port(self) -> int:
        return self.server.addresses["smtps" if self.mode == IMPLICIT else "smtp"][1]

    @property
    def authority(self) -> Path:
        path = self.folder / "ca.pem"
        path.write_bytes(certificates.authority(None).pem)
        return path

    @property
    def message(self) -> Path:
        path = self.folder / "message.eml"
        path.write_bytes(MESSAGE.encode())
        return path

    async def run(self, *arguments: str | Path, stdin: bytes = b"", **environment: str) -> str:
        """Run a program; its output. Fails with it when the exit status is not 0."""
        about = {**os.environ, "HOME": os.fspath(self.folder), **environment}
        return await run_program(*arguments, folder=self.folder, environment=about, given=stdin)


async def swaks(meeting: Meeting) -> None:
    mode = {PLAIN: [], STARTTLS: ["-tls"], IMPLICIT: ["--tls-on-connect"]}[meeting.mode]
    trust = ["--tls-verify", "--tls-ca-path", meeting.authority] if meeting.mode != PLAIN else []
    await meeting.run(
        need("swaks", "swaks"),
        *("--server", "localhost", "--port", str(meeting.port), "--from", "bob@x.example", "--to", "alice@x.example"),
        *("--auth", "CRAM-MD5", "--auth-user", "alice", "--auth-password", "secret", "--data", f"@{meeting.message}"),
        *mode,
        *trust,
    )


async def msmtp(meeting: Meeting) -> None:
    config = meeting.folder / "msmtprc"
    tls = "tls off" if meeting.mode == PLAIN else f"tls on\ntls_trust_file {meeting.authority}"
    config.write_text(
        f"account default\nhost localhost\nport {meeting.port}\n{tls}\n"
        f"tls_starttls {'on' if meeting.mode == STARTTLS else 'off'}\n"
        f"auth {'cram-md5' if meeting.mode == PLAIN else 'on'}\nuser alice\npassword secret\nfrom bob@x.example\n"
    )
    config.chmod(0o600)
    program = need("msmtp", "msmtp")
    await meeting.run(program, "-C", config, "-N", "failure", "alice@x.example", stdin=meeting.message.read_bytes())


async def curl(meeting: Meeting) -> None:
    scheme = "smtps" if meeting.mode == IMPLICIT else "smtp"
    tls = [] if meeting.mode == PLAIN else ["--ssl-reqd", "--cacert", meeting.authority]
    await meeting.run(
        need("curl", "curl"),
        *("-sS", f"{scheme}://localhost:{meeting.port}/client.example", "--mail-from", "bob@x.example"),
        *("--mail-rcpt", "alice@x.example", "--upload-file", meeting.message, "--user", "alice:secret", *tls),
    )


async def s_nail(meeting: Meeting) -> None:
    scheme = "smtps" if meeting.mode == IMPLICIT else "smtp"
    settings = [f"mta={scheme}://alice:secret@localhost:{meeting.port}", "v15-compat=yes", "from=bob@x.example"]
    settings += ["smtp-auth=plain", "sendwait", "ttycharset=utf-8", "hostname=client.example"]
    if meeting.mode == STARTTLS:
        settings.append("smtp-use-starttls")
    settings += [f"tls-ca-file={meeting.authority}", "tls-verify=strict"]
    flags = [part for setting in settings for part in ("-S", setting)]
    body = BODY.replace("\r\n", "\n").encode()
    await meeting.run(need("s-nail", "s-nail"), "-:/", *flags, "-s", "interop", "alice@x.example", stdin=body)


NODEMAILER = """
const nodemailer = require('nodemailer'), fs = require('fs');
const [port, mode, ca, message] = process.argv.slice(2);
const transport = nodemailer.createTransport({host: 'localhost', port: +port, secure: mode === 'implicit',
  requireTLS: mode === 'starttls', ignoreTLS: mode === 'plain', auth: {user: 'alice', pass: 'secret'},
  tls: {ca: fs.readFileSync(ca)}, dsn: undefined});
transport.sendMail({envelope: {from: 'bob@x.example', to: ['alice@x.example']}, raw: fs.readFileSync(message)})
  .then(() => process.exit(0), error => { console.error(error); process.exit(1); });
"""


async def nodemailer(meeting: Meeting) -> None:
    node = need("node", "nodejs")
    script = meeting.folder / "send.js"
    script.write_text(NODEMAILER)
    modules = os.environ.get("NODE_PATH", "")
    if not any((Path(folder) / "nodemailer").is_dir() for folder in modules.split(":") if folder):
        reason = "nodemailer is not here: npm install --prefix DIR nodemailer; NODE_PATH=DIR/node_modules"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    await meeting.run(node, script, str(meeting.port), meeting.mode, meeting.authority, meeting.message)


async def aiosmtplib(meeting: Meeting) -> None:
    import aiosmtplib

    context = ssl.create_default_context(cafile=os.fspath(meeting.authority))
    await aiosmtplib.send(
        MESSAGE.encode(),
        sender="bob@x.example",
        recipients=["alice@x.example"],
        hostname="localhost",
        port=meeting.port,
        username="alice",
        password="secret",
        use_tls=meeting.mode == IMPLICIT,
        start_tls=meeting.mode == STARTTLS,
        tls_context=context,
    )


async def python_smtplib(meeting: Meeting) -> None:
    context = ssl.create_default_context(cafile=os.fspath(meeting.authority))

    def send() -> None:
        if meeting.mode == IMPLICIT:
            client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", meeting.port, context=context)
        else:
            client = smtplib.SMTP("localhost", meeting.port)
        with client:
            if meeting.mode == STARTTLS:
                client.starttls(context=context)
            client.login("alice", "secret")
            client.sendmail("bob@x.example", ["alice@x.example"], MESSAGE.encode(), ["BODY=8BITMIME"])

    await asyncio.to_thread(send)


PERL = """
use Net::SMTP; my ($port, $mode, $ca, $message) = @ARGV;
open my $file, '<:raw', $message or die; my $text = do { local $/; <$file> }; $text =~ s/\\r\\n/\\n/g;
my @tls = (SSL_ca_file => $ca, SSL_verify_mode => 1);
my $client = Net::SMTP->new('localhost', Port => $port, Hello => 'client.example',
  $mode eq 'implicit' ? (SSL => 1, @tls) : ()) or die "connect: $@";
if ($mode eq 'starttls') { $client->starttls(@tls) or die "starttls: " . $client->message }
$client->auth('alice', 'secret') or die "auth: " . $client->message;
$client->mail('bob@x.example', Bits => '8') or die $client->message;
$client->to('alice@x.example') or die $client->message;
$client->data($text) or die $client->message; $client->quit;
"""


async def perl_net_smtp(meeting: Meeting) -> None:
    perl = need("perl", "perl libio-socket-ssl-perl libauthen-sasl-perl")
    script = meeting.folder / "send.pl"
    script.write_text(PERL)
    await meeting.run(perl, script, str(meeting.port), meeting.mode, meeting.authority, meeting.message)


CLIENTS: list[Callable[[Meeting], Awaitable[None]]] = [
    swaks,
    msmtp,
    curl,
    s_nail,
    nodemailer,
    aiosmtplib,
    python_smtplib,
    perl_net_smtp,
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
async def test_client(client: Callable[[Meeting], Awaitable[None]], mode: str, tmp_path: Path, start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(
        users=["alice:secret"], smtps_port=0, host="127.0.0.1", pop3_port=None, nntp_port=None, login_required=True
    )
    await client(Meeting(server, mode, tmp_path))
    await server.inbound.settled()
    (message,) = server.store.mailboxes["alice"].inbox.messages
    octets = await server.converter.octets(message)
    assert b"Return-Path: <bob@x.example>" in octets
    assert (b"with ESMTPA id" if mode == PLAIN else b"with ESMTPSA id") in octets
    if client is s_nail:  # which encodes the body
        assert b"\r\n.a line with a dot\r\n" in octets
    else:  # swaks adds an empty line
        assert octets.rstrip(b"\r\n") + b"\r\n" == octets[: octets.find(b"\r\n\r\n")] + b"\r\n\r\n" + BODY.encode()
    assert server.scheduler.failures == []
