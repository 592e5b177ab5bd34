"""Mail and news libraries of other languages, and small programs, each in the modes that it has: plain, STARTTLS, TLS.

The libraries' scripts are in `clients/`: each says `ok NAME MODE` for what it has done and stops at what fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import zlib
from pathlib import Path
from typing import Any

import pytest

from emulator.server import Server
from protocols.ports import Target

from .conftest import ClientWorld, need, run_program

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

SCRIPTS = Path(__file__).with_name("clients")
MESSAGES = [
    f"From: Bob <bob@x.example>\r\nTo: alice@x.example\r\nSubject: number {number}\r\n"
    f"Date: Mon, 7 Feb 1994 21:52:2{number} -0800\r\nMessage-ID: <{number}@x.example>\r\n\r\n"
    f"line {number}\r\n.dot\r\n".encode()
    for number in range(1, 4)
]
PROTOCOLS = ("smtp", "pop3", "imap", "nntp")


class Meeting(ClientWorld):
    """A server with all its ports, three messages for alice, and a home for the client."""

    def __init__(self, server: Server, home: Path) -> None:
        super().__init__(server, home)
        self.ports = {name: server.addresses[name][1] for one in PROTOCOLS for name in (one, one + "s")}

    def inbox(self, name: str = "alice") -> list[Any]:
        return list(self.server.store.mailboxes[name].folders["INBOX"].messages)

    async def run(self, *command: str | Path) -> str:
        """Run a program; what it said. Fails with that when the exit status is not 0."""
        environment = {
            **{name.upper(): str(port) for name, port in self.ports.items()},
            "CA": str(self.ca),
            "SSL_CERT_FILE": str(self.ca),
            "NODE_EXTRA_CA_CERTS": str(self.ca),
            "NODE_PATH": os.environ.get("NODE_PATH", ""),
        }
        return await run_program(*command, folder=self.folder, environment=environment)

    async def post(self, group: str, fields: str, body: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["nntp"])
        head = f"POST\r\nFrom: a@x.example\r\nNewsgroups: {group}\r\n{fields}\r\n\r\n".encode()
        writer.write(head + body.replace(b"\r\n.", b"\r\n..") + b".\r\nQUIT\r\n")
        assert b"240 " in await asyncio.wait_for(reader.read(), 30)
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def meeting(start_server: Any, tmp_path: Path) -> Meeting:
    server = await start_server(
        users=["alice:secret", "bob:hidden"],
        groups=("misc.test", "alt.binaries.test"),
        **{f"{name}s_port": 0 for name in PROTOCOLS},
    )
    inbox = server.store.mailboxes["alice"].folders["INBOX"]
    for octets in MESSAGES:
        await server.converter.put(octets, [Target(inbox)])
    return Meeting(server, tmp_path)


async def walk(meeting: Meeting, *command: str | Path) -> list[str]:
    said = await meeting.run(*command)
    return [line[3:] for line in said.splitlines() if line.startswith("ok ")]


def three(name: str, protocol: str) -> list[str]:
    """The names of the steps of a client that has all three modes."""
    return [f"{name} {protocol}", f"{name} {protocol} STARTTLS", f"{name} {protocol}S"]


async def test_ruby(meeting: Meeting) -> None:
    steps = await walk(meeting, need("ruby", "ruby ruby-mail"), SCRIPTS / "walk.rb")
    pop = ["net-pop POP3", "net-pop POP3S", "net-pop APOP"]
    assert steps == [*three("net-imap", "IMAP"), *pop, *three("net-smtp", "SMTP"), "mail"]


async def test_perl(meeting: Meeting) -> None:
    program = need("perl", "perl")
    packages = "libnet-imap-simple-perl libmail-pop3client-perl libemail-sender-perl libnews-nntpclient-perl"
    if not list(Path("/usr/share/perl5").glob("Net/IMAP/Simple.pm")):
        pytest.skip(f"Perl's modules are not here: apt-get install {packages}")
    steps = await walk(meeting, program, SCRIPTS / "walk.pl")
    assert steps == [
        *("Net::IMAP::Simple IMAP", "Net::IMAP::Simple IMAPS", "Mail::POP3Client POP3", "Mail::POP3Client POP3S"),
        *three("Email::Sender", "SMTP"),
        "News::NNTPClient NNTP",
    ]


async def test_tcl(meeting: Meeting) -> None:
    program = need("tclsh", "tcl tcllib tcl-tls")
    steps = await walk(meeting, program, SCRIPTS / "walk.tcl")
    pop = ["pop3 POP3", "pop3 POP3S"]
    assert steps == [*pop, *three("smtp", "SMTP"), "nntp NNTP", *three("imap4", "IMAP")]


async def test_c_client(meeting: Meeting) -> None:
    program = need("php", "php-cli php-imap")
    await meeting.post("misc.test", "Subject: x", b"an article\r\n")
    steps = await walk(meeting, program, SCRIPTS / "walk.php")
    assert steps == [f"c-client {name}{tls}" for name in ("IMAP", "POP3", "NNTP") for tls in ("", "S")]


async def test_node(meeting: Meeting) -> None:
    program = need("node", "nodejs npm")
    modules = Path(os.environ.get("NODE_PATH", ""))
    if not (modules / "emailjs-imap-client").is_dir():
        pytest.skip("npm install imap node-pop3 emailjs emailjs-imap-client, and NODE_PATH=…/node_modules")
    steps = await walk(meeting, program, SCRIPTS / "walk.js")
    others = ["node-pop3 POP3", "node-pop3 POP3S", *three("emailjs", "SMTP")]
    assert steps == [*three("imap", "IMAP"), *others, "emailjs-imap-client IMAP", "emailjs-imap-client IMAPS"]


async def test_fdm(meeting: Meeting) -> None:
    program = need("fdm", "fdm")
    for name in ("imap", "imaps", "pop3", "pop3s"):
        tls = "no-verify" if name.endswith("s") else ""
        config = meeting.write(
            "fdm.conf",
            f'set lock-file "{meeting.folder}/lock"\naction "keep" maildir "{meeting.folder}/{name}"\n'
            f'account "a" {name} server "localhost" port {meeting.ports[name]} user "alice" pass "secret" {tls}\n'
            'match all action "keep"\n',
        )
        await meeting.run(program, "-f", config, "-k", "fetch")
        assert len(list((meeting.folder / name / "new").iterdir())) == 3


async def test_nmh(meeting: Meeting) -> None:
    inc, send = need("/usr/bin/mh/inc", "nmh"), need("/usr/bin/mh/send", "nmh")
    meeting.write(".mh_profile", "Path: Mail\n")
    meeting.write(".netrc", "machine localhost login alice password secret\n")
    (meeting.folder / "Mail").mkdir()
    reading: list[tuple[str, list[str]]] = [
        ("pop3", []),
        ("pop3", ["-sasl", "-saslmech", "plain"]),
        ("pop3s", ["-initialtls", "-nocertverify"]),
    ]
    for name, options in reading:
        port = str(meeting.ports[name])
        said = await meeting.run(
            inc, "-host", "localhost", "-user", "alice", "-port", port, "-notruncate", "-width", "80", *options
        )
        assert "number 3" in said
    sending: list[tuple[str, list[str]]] = [
        ("smtp", []),
        ("smtp", ["-tls", "-nocertverify"]),
        ("smtps", ["-initialtls", "-nocertverify", "-sasl", "-saslmech", "plain", "-user", "alice"]),
    ]
    for name, options in sending:
        draft = meeting.write("draft", "From: a@x.example\nTo: bob@x.example\nSubject: nmh\n\nhello\n")
        await meeting.run(
            send, "-server", "localhost", "-port", str(meeting.ports[name]), "-mts", "smtp", *options, draft
        )
    await meeting.server.inbound.settled()
    assert len(meeting.inbox("bob")) == 3


async def test_interimap(meeting: Meeting) -> None:
    """QRESYNC, COMPRESS, MULTIAPPEND and LIST-STATUS as a client uses them, between two mailboxes, both ways."""
    program = need("interimap", "interimap")
    ports = meeting.ports
    (meeting.folder / ".config/interimap").mkdir(parents=True)
    meeting.write(
        ".config/interimap/config",
        f"[local]\ntype=imap\nhost=127.0.0.1\nport={ports['imap']}\nSTARTTLS=NO\nusername=alice\npassword=secret\n"
        f"[remote]\ntype=imaps\nhost=localhost\nport={ports['imaps']}\nSSL_CAfile={meeting.ca}\n"
        "username=bob\npassword=hidden\n",
    )
    (meeting.folder / ".local/share/interimap").mkdir(parents=True)
    await meeting.run(program)
    assert len(meeting.inbox("bob")) == 3
    await meeting.server.converter.put(
        MESSAGES[0], [Target(meeting.server.store.mailboxes["bob"].folders["INBOX"], frozenset({"\\Flagged"}))]
    )
    await meeting.run(program)
    assert [sorted(message.flags) for message in meeting.inbox()][-1] == ["\\Flagged"]
    assert len(meeting.inbox()) == 4
    await meeting.run(program)  # looks at the flags that it has just set itself
    said = await meeting.run(program)
    assert "Updated" not in said, said


async def test_send_email(meeting: Meeting) -> None:
    program = need("sendemail", "sendemail libio-socket-ssl-perl")
    command = (program, "-q", "-f", "a@x.example", "-t", "bob@x.example", "-u", "sub", "-m", "body")
    server = f"localhost:{meeting.ports['smtp']}"
    await meeting.run(*command, "-s", server, "-o", "tls=no")
    await meeting.run(*command, "-s", server, "-o", "tls=yes", "-xu", "alice", "-xp", "secret")
    await meeting.server.inbound.settled()
    assert len(meeting.inbox("bob")) == 2


def yencoded(octets: bytes) -> bytes:
    """Lines of at most 128 characters and an escape."""
    critical = {0, 10, 13, 61}
    out = bytearray()
    column = 0
    for octet in octets:
        code = (octet + 42) & 255
        escaped = code in critical or (column == 0 and code == 46)
        out += bytes((61, (code + 64) & 255)) if escaped else bytes((code,))
        column += 2 if escaped else 1
        if column >= 128:
            out += b"\r\n"
            column = 0
    return bytes(out) + (b"\r\n" if column else b"")


async def test_nzbget(meeting: Meeting) -> None:
    """A binary of several yEnc articles, fetched over several connections and put together, plain and by TLS."""
    program = need("nzbget", "nzbget")
    data = random.Random(1).randbytes(150_000)
    size, parts = 50_000, 3
    segments = ""
    for part in range(1, parts + 1):
        piece = data[(part - 1) * size : part * size]
        body = b"=ybegin part=%d total=%d line=128 size=%d name=file.bin\r\n=ypart begin=%d end=%d\r\n%b" % (
            *(part, parts, len(data), (part - 1) * size + 1, part * size),
            yencoded(piece),
        ) + b"=yend size=%d part=%d pcrc32=%08x\r\n" % (size, part, zlib.crc32(piece))
        fields = f'Subject: "file.bin" yEnc ({part}/{parts})\r\nMessage-ID: <{part}.part@x.example>'
        await meeting.post("alt.binaries.test", fields, body)
        segments += f'<segment bytes="{len(body)}" number="{part}">{part}.part@x.example</segment>'
    nzb = meeting.write(
        "t.nzb",
        '<?xml version="1.0" encoding="UTF-8"?>\n<nzb xmlns="http://www.newzbin.com/DTD/2003/nzb">'
        '<file poster="a" date="1700000000" subject="&quot;file.bin&quot; yEnc (1/3)">'
        f"<groups><group>alt.binaries.test</group></groups><segments>{segments}</segments></file></nzb>",
    )
    for name, tls in (("nntp", "no"), ("nntps", "yes")):
        options = {
            "MainDir": meeting.folder / name,
            "DestDir": meeting.folder / name / "done",
            "Server1.Active": "yes",
            "Server1.Host": "localhost",
            "Server1.Port": meeting.ports[name],
            "Server1.Encryption": tls,
            "Server1.Connections": 3,
            "OutputMode": "log",
            "WriteLog": "none",
            "ParCheck": "manual",
            "CertCheck": "no",
        }
        (meeting.folder / name).mkdir()
        pairs = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        said = await meeting.run(program, "-n", *pairs, nzb)
        got = meeting.folder / name / "done" / "t" / "file.bin"
        assert got.exists(), said
        assert hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(data).digest()
