"""SMTP on real sockets: TLS, early talkers, LMTP on a Unix socket, aiosmtpd's handlers unchanged."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from email.message import Message as EmailMessage
from pathlib import Path
from typing import Any

import aiosmtpd.handlers
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import certificates
from emulator.config import Settings, SettingsError
from emulator.server import Server
from emulator.smtp import Plug, SmtpServer, load_handler

CLIENT_TLS = certificates.authority(None).client_context()


class Peer:
    """A raw client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, server: Server, name: str = "smtp") -> Peer:
        peer = cls(*await asyncio.open_connection(*server.addresses[name]))
        assert (await peer.reply()).startswith("220")
        return peer

    async def reply(self) -> str:
        lines = []
        async with asyncio.timeout(10):
            while True:
                line = (await self.reader.readline()).decode()
                lines.append(line)
                if line[3:4] != "-":
                    return "".join(lines)

    async def say(self, octets: bytes | str) -> str:
        self.writer.write(octets if isinstance(octets, bytes) else octets.encode() + b"\r\n")
        return await self.reply()


@pytest.fixture
async def server(start_server) -> Server:  # type: ignore[no-untyped-def]
    started: Server = await start_server(users=["alice:secret"], smtps_port=0, lmtp_port=0)
    return started


async def test_starttls_and_implicit_tls(server: Server) -> None:
    def talk() -> None:
        with smtplib.SMTP(*server.addresses["smtp"]) as client:
            client.ehlo()
            assert client.has_extn("starttls")
            client.starttls(context=CLIENT_TLS)
            client.ehlo()
            assert not client.has_extn("starttls")
            assert client.has_extn("requiretls")
            assert "SCRAM-SHA-256-PLUS" in client.esmtp_features["auth"]
            client.login("alice", "secret")
            client.sendmail("bob@x.example", ["alice"], "Subject: tls\r\n\r\n", ["REQUIRETLS"])
        with smtplib.SMTP_SSL(*server.addresses["smtps"], context=CLIENT_TLS) as client:
            client.sendmail("bob@x.example", ["alice"], "Subject: implicit\r\n\r\n")

    await asyncio.to_thread(talk)
    await server.inbound.settled()
    inbox = server.store.mailboxes["alice"].inbox.messages
    traces = sorted([await server.converter.octets(message) for message in inbox], key=lambda octets: b"tls" in octets)
    assert b"with ESMTPS id" in traces[0]
    assert b"with ESMTPSA id" in traces[1]


async def test_what_was_pipelined_behind_starttls_is_dropped(server: Server) -> None:
    peer = await Peer.connect(server)
    await peer.say("EHLO x")
    assert (await peer.say(b"STARTTLS\r\nRSET\r\nMAIL FROM:<injected@x.example>\r\n")).startswith("220")
    await peer.writer.start_tls(CLIENT_TLS, server_hostname="localhost")
    assert (await peer.say("MAIL FROM:<a@x.example>")).startswith("503")  # EHLO before TLS is forgotten as well
    assert (await peer.say("EHLO x")).startswith("250")
    assert (await peer.say("NOOP")).startswith("250")
    peer.writer.close()


async def test_an_early_talker_is_refused(server: Server) -> None:
    with socket.create_connection(server.addresses["smtp"]) as client:
        client.setblocking(True)
        client.sendall(b"EHLO x\r\n")
        reader, writer = await asyncio.open_connection(sock=client)
        assert (await reader.readline()).startswith(b"554 5.5.1")
        assert await reader.read() == b""
        writer.close()


async def test_the_greeting_can_be_late(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(smtp_greeting_seconds=0.05)
    peer = await Peer.connect(server)
    assert (await peer.say("NOOP")).startswith("250")
    reader, writer = await asyncio.open_connection(*server.addresses["smtp"])
    writer.write(b"NOOP\r\n")
    assert (await reader.read()).startswith(b"554 5.5.1")
    for open_writer in (peer.writer, writer):
        open_writer.close()


async def test_idle_peers_are_told_goodbye(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(smtp_idle_seconds_max=0.05)
    peer = await Peer.connect(server)
    assert (await peer.reply()).startswith("421 4.4.2")
    assert await peer.reader.read() == b""
    peer.writer.close()


async def test_lmtp_on_a_unix_socket(tmp_path: Path, start_server) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "lmtp"
    server = await start_server(lmtp_socket=path)

    def talk() -> None:
        with smtplib.LMTP(str(path)) as client:
            client.sendmail("bob@x.example", ["carol@x.example"], "Subject: lmtp\r\n\r\n")

    await asyncio.to_thread(talk)
    await server.inbound.settled()
    (message,) = server.store.mailboxes["carol@x.example"].inbox.messages
    assert b"with LMTP id" in await server.converter.octets(message)


async def test_binary_comes_through_unchanged(server: Server) -> None:
    octets = b"Subject: x\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(range(256)) * 3000
    peer = await Peer.connect(server)
    await peer.say("EHLO x")
    await peer.say("MAIL FROM:<> BODY=BINARYMIME")
    await peer.say("RCPT TO:<alice>")
    half = len(octets) // 2
    assert (await peer.say(b"BDAT %d\r\n" % half + octets[:half])).startswith("250")
    assert (await peer.say(b"BDAT %d LAST\r\n" % (len(octets) - half) + octets[half:])).startswith("250 2.0.0 OK")
    peer.writer.close()
    await server.inbound.settled()
    (message,) = server.store.mailboxes["alice"].inbox.messages
    assert (await server.converter.octets(message)).endswith(octets)


async def test_xclient_is_in_the_trace_field(server: Server) -> None:
    peer = await Peer.connect(server)
    await peer.say("EHLO x")
    assert (await peer.say("XCLIENT NAME=spike.example ADDR=192.0.2.7 HELO=spike.example")).startswith("220")
    await peer.say("EHLO spike.example")
    await peer.say("MAIL FROM:<>")
    await peer.say("RCPT TO:<alice>")
    await peer.say("DATA")
    await peer.say("Subject: x\r\n.")
    peer.writer.close()
    await server.inbound.settled()
    (message,) = server.store.mailboxes["alice"].inbox.messages
    assert b"Received: from spike.example (spike.example [192.0.2.7])" in await server.converter.octets(message)


async def test_expn_shows_a_list(server: Server) -> None:
    server.directory.add_list("staff@x.example", ("alice", "bob@x.example"))
    peer = await Peer.connect(server)
    assert await peer.say("EXPN staff@x.example") == "250-2.1.5 <alice@mailjam.test>\r\n250 2.1.5 <bob@x.example>\r\n"
    peer.writer.close()


# --- aiosmtpd's handlers ----------------------------------------------------------------------------------------------


class Recorder:
    """A handler with every hook, in the form that aiosmtpd documents."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.messages: list[tuple[Any, ...]] = []

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        assert isinstance(server, SMTP)
        assert session.peer[0] == "127.0.0.1"
        self.calls.append(f"EHLO {hostname}")
        session.host_name = hostname
        return [*responses[:-1], "250-XRECORDED", responses[-1]]

    async def handle_HELO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
        session.host_name = hostname
        return "250 helo from the handler"

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        self.calls.append(f"MAIL {address} {options}")
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 sender from the handler"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("bad"):
            return "550 not relaying to that domain"
        envelope.rcpt_tos.append(address)
        return "250 recipient from the handler"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if b"break" in envelope.content:
            raise ValueError("broken")
        self.messages.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.content, session.host_name))
        return "250 message from the handler"

    async def handle_RSET(self, server: Any, session: Any, envelope: Any) -> str:
        return "250 reset by the handler"

    async def handle_NOOP(self, server: Any, session: Any, envelope: Any, argument: str | None) -> str:
        return f"250 noop {argument}"

    async def handle_VRFY(self, server: Any, session: Any, envelope: Any, address: str) -> str:
        return f"250 <{address}>"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        return "221 goodbye from the handler"

    def handle_STARTTLS(self, server: Any, session: Any, envelope: Any) -> bool:
        self.calls.append(f"STARTTLS {session.ssl is not None}")
        return True

    async def handle_exception(self, error: Exception) -> str:
        return f"542 {error}"

    async def auth_XSECRET(self, server: Any, arguments: list[str]) -> AuthResult:
        answer = await server.challenge_auth("what?")
        return AuthResult(success=answer == b"that", handled=False, auth_data=LoginPassword(b"dora", b""))


@pytest.fixture
async def recorded(monkeypatch: pytest.MonkeyPatch, start_server) -> tuple[Server, Recorder]:  # type: ignore[no-untyped-def]
    recorder = Recorder()
    monkeypatch.setattr("emulator.server.load_handler", lambda name: recorder)
    return await start_server(handler="any:thing", lmtp_port=0), recorder


async def test_all_hooks(recorded: tuple[Server, Recorder]) -> None:
    server, recorder = recorded
    peer = await Peer.connect(server)
    assert "250-XRECORDED\r\n250 HELP" in await peer.say("EHLO client")
    assert await peer.say("NOOP x") == "250 noop x\r\n"
    assert await peer.say("VRFY someone") == "250 <someone>\r\n"
    assert await peer.say("MAIL FROM:<a@x.example> size=10") == "250 sender from the handler\r\n"
    assert (await peer.say("RCPT TO:<bad@x.example>")).startswith("550 not relaying")
    assert await peer.say("RCPT TO:<b@x.example>") == "250 recipient from the handler\r\n"
    assert (await peer.say("DATA")).startswith("354")
    assert await peer.say("Subject: x\r\n\r\n..dot\r\n.") == "250 message from the handler\r\n"
    assert recorder.messages == [("a@x.example", ["b@x.example"], b"Subject: x\r\n\r\n.dot\r\n", "client")]
    assert recorder.calls == ["EHLO client", "MAIL a@x.example ['SIZE=10']"]
    assert await peer.say("RSET") == "250 reset by the handler\r\n"
    await peer.say("MAIL FROM:<>")
    await peer.say("RCPT TO:<b@x.example>")
    await peer.say("DATA")
    assert await peer.say("break\r\n.") == "542 broken\r\n"
    assert await peer.say("HELO again") == "250 helo from the handler\r\n"
    assert await peer.say("QUIT") == "221 goodbye from the handler\r\n"
    assert await peer.reader.read() == b""
    assert server.inbound.accepted_count == 0
    peer.writer.close()


async def test_mechanisms_of_the_handler(recorded: tuple[Server, Recorder]) -> None:
    server, _ = recorded
    peer = await Peer.connect(server)
    assert "XSECRET" in await peer.say("EHLO client")
    assert await peer.say("AUTH XSECRET") == "334 d2hhdD8=\r\n"
    assert (await peer.say("d3Jvbmc=")).startswith("535")
    await peer.say("AUTH XSECRET")
    assert (await peer.say("dGhhdA==")).startswith("235")
    assert (await peer.say("AUTH XSECRET")).startswith("503")
    peer.writer.close()


async def test_starttls_with_a_handler(recorded: tuple[Server, Recorder]) -> None:
    server, recorder = recorded
    peer = await Peer.connect(server)
    await peer.say("EHLO client")
    assert (await peer.say("STARTTLS")).startswith("220")
    await peer.writer.start_tls(CLIENT_TLS, server_hostname="localhost")
    assert (await peer.say("EHLO client")).startswith("250")
    assert "STARTTLS True" in recorder.calls
    peer.writer.close()


async def test_lmtp_with_a_handler(recorded: tuple[Server, Recorder]) -> None:
    server, _ = recorded
    peer = await Peer.connect(server, "lmtp")
    await peer.say("LHLO client")
    await peer.say("MAIL FROM:<a@x.example>")
    await peer.say("RCPT TO:<b@x.example>")
    await peer.say("RCPT TO:<c@x.example>")
    await peer.say("DATA")
    assert await peer.say("x\r\n.") == "250 message from the handler\r\n"
    assert await peer.reply() == "250 message from the handler\r\n"
    peer.writer.close()


class OldEhlo:
    """The form of handle_EHLO with four arguments; no handle_DATA: mail is delivered as without a handler."""

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
        session.host_name = hostname
        return "250 old"


async def test_the_old_form_of_ehlo(monkeypatch: pytest.MonkeyPatch, start_server) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("emulator.server.load_handler", lambda name: OldEhlo())
    server = await start_server(handler="any:thing")
    peer = await Peer.connect(server)
    assert (await peer.say("EHLO client")).endswith("250-HELP\r\n250 old\r\n")
    await peer.say("MAIL FROM:<a@x.example>")
    await peer.say("RCPT TO:<b@x.example>")
    await peer.say("DATA")
    assert (await peer.say("x\r\n.")).startswith("250 2.0.0 OK: queued")
    peer.writer.close()


class Collected(aiosmtpd.handlers.Message):
    """aiosmtpd's Message handler, as its users subclass it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[EmailMessage] = []

    def handle_message(self, message: EmailMessage) -> None:
        self.messages.append(message)


@pytest.mark.parametrize("name", ["Sink", "Debugging", "Collected", "Mailbox"])
async def test_handlers_that_come_with_aiosmtpd(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    start_server,  # type: ignore[no-untyped-def]
) -> None:
    kinds: dict[str, Any] = {
        "Sink": aiosmtpd.handlers.Sink,
        "Debugging": aiosmtpd.handlers.Debugging,
        "Collected": Collected,
        "Mailbox": lambda: aiosmtpd.handlers.Mailbox(tmp_path / "box"),
    }
    handler = kinds[name]()
    monkeypatch.setattr("emulator.server.load_handler", lambda name: handler)
    server = await start_server(handler="any:thing")

    def talk() -> None:
        with smtplib.SMTP(*server.addresses["smtp"]) as client:
            client.sendmail("a@x.example", ["b@x.example"], "Subject: for a handler\r\n\r\nbody\r\n")

    await asyncio.to_thread(talk)
    if name == "Debugging":
        assert "Subject: for a handler" in capsys.readouterr().out
    elif name == "Collected":
        assert handler.messages[0]["X-RcptTo"] == "b@x.example"
    elif name == "Mailbox":
        assert len(list((tmp_path / "box" / "new").iterdir())) == 1


def test_handlers_by_name() -> None:
    assert isinstance(load_handler("aiosmtpd.handlers:Sink"), aiosmtpd.handlers.Sink)
    for wrong in (
        "aiosmtpd.handlers",
        "no.such.module:Class",
        "aiosmtpd.handlers:NoSuchClass",
        "aiosmtpd.handlers:Proxy",
    ):
        with pytest.raises(SettingsError) as error:
            load_handler(wrong)
        assert "\n" not in str(error.value)


def test_a_handler_with_a_wrong_ehlo() -> None:
    class Wrong:
        async def handle_EHLO(self, one: Any) -> None: ...

    with pytest.raises(SettingsError):
        Plug(Wrong())


def test_it_is_an_aiosmtpd_server() -> None:
    assert issubclass(SmtpServer, SMTP)


# --- whatever a peer sends --------------------------------------------------------------------------------------------

VERBS = st.sampled_from(
    [
        "EHLO x",
        "HELO x",
        "MAIL FROM:<a@b>",
        "RCPT TO:<c@d>",
        "DATA",
        ".",
        "BDAT 3",
        "BDAT 0 LAST",
        "RSET",
        "VRFY x",
        "AUTH PLAIN",
    ]
)
CHUNKS = st.lists(VERBS.map(lambda verb: f"{verb}\r\n".encode()) | st.binary(max_size=30), max_size=12)


@given(CHUNKS)
@settings(max_examples=40)
def test_whatever_a_peer_says_is_answered_by_replies(chunks: list[bytes]) -> None:
    async def exchange() -> None:
        only = Settings(pop3_port=None, imap_port=None, nntp_port=None, tls=False)
        async with Server(only) as server, asyncio.timeout(10):
            peer = await Peer.connect(server)
            for chunk in chunks:
                peer.writer.write(chunk)
            peer.writer.write_eof()
            answers = await peer.reader.read()
            peer.writer.close()
            assert all(line[:3].isdigit() for line in answers.split(b"\r\n") if line)
            assert server.scheduler.failures == []

    asyncio.run(exchange())


def test_client_context_is_strict() -> None:
    assert CLIENT_TLS.verify_mode is ssl.CERT_REQUIRED
