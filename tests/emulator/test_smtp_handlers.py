"""aiosmtpd's sample handlers and hooks by `--handler`, unchanged: they get what aiosmtpd gives them."""

from __future__ import annotations

import asyncio
import smtplib
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

from emulator.config import SettingsError
from emulator.server import Server
from emulator.smtp import load_handler

MESSAGE = b"From: a@x.example\r\nTo: b@x.example\r\nSubject: for a handler\r\n\r\nbody\r\n.dot\r\n"
MODULE = '''
import base64
from aiosmtpd.handlers import AsyncMessage, Message, Sink
from aiosmtpd.smtp import AuthResult, LoginPassword, MISSING, auth_mechanism

SEEN = []


class Collected(Message):
    def handle_message(self, message):
        SEEN.append((type(message).__name__, message["X-MailFrom"], message["X-RcptTo"], message["Subject"],
                     message["X-Peer"].startswith("('127.0.0.1'"), message.get_payload()))


class CollectedLater(AsyncMessage):
    async def handle_message(self, message):
        SEEN.append((type(message).__name__, message["X-MailFrom"], message["X-RcptTo"], message["Subject"],
                     message["X-Peer"].startswith("('127.0.0.1'"), message.get_payload()))


class Hooks:
    """Every hook, and what it was given."""

    async def handle_HELO(self, server, session, envelope, hostname):
        SEEN.append(("HELO", hostname, session.extended_smtp))
        session.host_name = hostname
        return f"250 {server.hostname}"

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        SEEN.append(("EHLO", hostname, session.extended_smtp))
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server, session, envelope, address, mail_options):
        SEEN.append(("MAIL", address, mail_options, envelope.smtp_utf8))
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        SEEN.append(("RCPT", address, rcpt_options))
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        SEEN.append(("DATA", envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        if b"raise" in envelope.content:
            raise RuntimeError("oops")
        return "250 OK"

    async def handle_RSET(self, server, session, envelope):
        SEEN.append(("RSET",))
        return "250 OK"

    async def handle_NOOP(self, server, session, envelope, arg):
        SEEN.append(("NOOP", arg))
        return "250 OK"

    async def handle_VRFY(self, server, session, envelope, address):
        SEEN.append(("VRFY", address))
        return "252 cannot"

    async def handle_QUIT(self, server, session, envelope):
        SEEN.append(("QUIT",))
        return "221 Bye"

    async def handle_exception(self, error):
        SEEN.append(("exception", str(error)))
        return "542 Internal server error"


class Login:
    """An authenticator's hooks: a mechanism of its own, and AUTH as aiosmtpd's manual shows it."""

    @auth_mechanism("x-token")
    async def auth_TOKEN(self, server, args):
        answer = await server.challenge_auth("token?")
        if answer is MISSING:
            return AuthResult(success=False, handled=True)
        return AuthResult(success=answer == b"good", handled=False, auth_data=LoginPassword(b"tim", b""))

    async def handle_DATA(self, server, session, envelope):
        SEEN.append((session.authenticated, session.auth_data.login if session.auth_data else None))
        return "250 OK"


class AuthHook:
    async def handle_AUTH(self, server, session, envelope, args):
        SEEN.append(("AUTH", args))
        session.authenticated = True
        session.auth_data = LoginPassword(b"ann", b"")
        return "235 2.7.0 Authentication successful"


class OnlyKnownProxies(Sink):
    async def handle_PROXY(self, server, session, envelope, proxy_data):
        SEEN.append(("PROXY", str(proxy_data.src_addr), proxy_data.src_port, proxy_data.valid,
                     session.proxy_data is proxy_data))
        return str(proxy_data.src_addr) == "192.0.2.7"


class Blocking(Sink):
    def handle_DATA(self, server, session, envelope):
        return "250 from a plain function"
'''


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """A user's module with handlers, importable; what they saw."""
    (tmp_path / "users_handlers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "users_handlers", raising=False)

    def look() -> list[Any]:
        found: list[Any] = __import__("users_handlers").SEEN
        return found

    return look


async def send(server: Server, octets: bytes = MESSAGE, name: str = "smtp") -> None:
    def talk() -> None:
        with smtplib.SMTP(*server.addresses[name]) as client:
            client.sendmail("a@x.example", ["b@x.example", "c@x.example"], octets)

    await asyncio.to_thread(talk)


async def said(server: Server, *commands: str, before: bytes = b"") -> list[str]:
    """The replies to commands, the greeting first; each one's last line."""
    reader, writer = await asyncio.open_connection(*server.addresses["smtp"])
    writer.write(before)
    replies = []
    async with asyncio.timeout(20):
        for command in ("", *commands):
            if command:
                writer.write(command.encode() + b"\r\n")
            line = b"250-"
            while line[3:4] == b"-":
                line = await reader.readline()
            replies.append(line.decode().rstrip())
    writer.close()
    return replies


async def test_debugging(start_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    await send(await start_server(handler="aiosmtpd.handlers:Debugging stdout"))
    out = capsys.readouterr().out
    assert "---------- MESSAGE FOLLOWS ----------" in out
    assert "mail options: ['SIZE=" in out
    assert "X-Peer: ('127.0.0.1'" in out
    assert "\n.dot\n" in out


async def test_sink(start_server: Any) -> None:
    server = await start_server(handler="aiosmtpd.handlers:Sink")
    await send(server)  # it has no handle_DATA: mail is delivered as without a handler
    await server.inbound.settled()
    assert server.inbound.delivered_count == 1


@pytest.mark.parametrize("name", ["Collected", "CollectedLater"])
async def test_message_classes(name: str, start_server: Any, seen: Callable[[], list[Any]]) -> None:
    await send(await start_server(handler=f"users_handlers:{name}"))
    assert seen() == [("Message", "a@x.example", "b@x.example, c@x.example", "for a handler", True, "body\r\n.dot\r\n")]


async def test_mailbox(start_server: Any, tmp_path: Path) -> None:
    await send(await start_server(handler=f"aiosmtpd.handlers:Mailbox '{tmp_path}/the box'"))
    kept = [path.read_bytes() for path in (tmp_path / "the box" / "new").iterdir()]
    assert len(kept) == 1
    assert b"X-RcptTo: b@x.example, c@x.example" in kept[0]


async def test_proxy(start_server: Any) -> None:
    class Behind:
        envelopes: list[Any] = []  # noqa: RUF012 - one test

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            self.envelopes.append(envelope)
            return "250 OK"

    listening, done = asyncio.Queue[int](), threading.Event()
    loop = asyncio.get_running_loop()

    async def serve() -> None:  # on a loop of its own: the handler blocks ours
        factory = partial(SMTP, Behind())
        listener = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        loop.call_soon_threadsafe(listening.put_nowait, listener.sockets[0].getsockname()[1])
        await asyncio.to_thread(done.wait)
        listener.close()

    task = asyncio.ensure_future(asyncio.to_thread(asyncio.run, serve()))
    try:
        await send(await start_server(handler=f"aiosmtpd.handlers:Proxy 127.0.0.1 {await listening.get()}"))
    finally:
        done.set()
        await task
    (envelope,) = Behind.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("a@x.example", ["b@x.example", "c@x.example"])
    assert b"\r\nX-Peer: 127.0.0.1\r\n\r\nbody\r\n.dot\r\n" in envelope.content


async def test_all_hooks_are_given_what_aiosmtpd_gives(start_server: Any, seen: Callable[[], list[Any]]) -> None:
    server = await start_server(handler="users_handlers:Hooks")
    dialogue = (
        "HELO one", "EHLO two", "NOOP", "NOOP word", "VRFY someone", "MAIL FROM:<a@x.example> BODY=8BITMIME SMTPUTF8",
        "RCPT TO:<b@x.example>", "DATA", "raise\r\n.", "MAIL FROM:<>", "RCPT TO:<b@x.example>", "RSET", "QUIT",
    )  # fmt: skip
    replies = await said(server, *dialogue)
    assert [reply[:3] for reply in replies] == (
        "220 250 250 250 250 252 250 250 354 542 250 250 250 221".split()  # noqa: SIM905
    )
    assert seen() == [
        ("HELO", "one", False),
        ("EHLO", "two", True),
        ("NOOP", None),
        ("NOOP", "word"),
        ("VRFY", "someone"),
        ("MAIL", "a@x.example", ["BODY=8BITMIME", "SMTPUTF8"], True),
        ("RCPT", "b@x.example", []),
        ("DATA", "a@x.example", ["b@x.example"], b"raise\r\n"),
        ("exception", "oops"),
        ("MAIL", "<>", [], False),
        ("RCPT", "b@x.example", []),
        ("RSET",),
        ("QUIT",),
    ]


async def test_mechanisms_of_a_handler(start_server: Any, seen: Callable[[], list[Any]]) -> None:
    server = await start_server(handler="users_handlers:Login", users=["alice:secret"])
    replies = await said(
        server, "EHLO x", "AUTH X-TOKEN", "YmFk", "AUTH X-TOKEN", "*", "AUTH X-TOKEN", "Z29vZA==",
        "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>", "DATA", "x\r\n.",
    )  # fmt: skip
    assert [reply[:3] for reply in replies] == (
        "220 250 334 535 334 501 334 235 250 250 354 250".split()  # noqa: SIM905
    )
    assert seen() == [(True, b"tim")]


async def test_the_auth_hook(start_server: Any, seen: Callable[[], list[Any]]) -> None:
    server = await start_server(handler="users_handlers:AuthHook", users=["alice:secret"])
    replies = await said(server, "EHLO x", "AUTH PLAIN AGEAYg==", "AUTH PLAIN AGEAYg==")
    assert [reply[:3] for reply in replies] == ["220", "250", "235", "503"]
    assert seen() == [("AUTH", ["PLAIN", "AGEAYg=="])]


async def test_a_plain_function_as_hook(start_server: Any, seen: Callable[[], list[Any]]) -> None:
    server = await start_server(handler="users_handlers:Blocking")
    replies = await said(server, "EHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>", "DATA", "x\r\n.")
    assert replies[-1] == "250 from a plain function"


async def test_proxies_are_asked_for(start_server: Any, seen: Callable[[], list[Any]]) -> None:
    server = await start_server(handler="users_handlers:OnlyKnownProxies", proxy_protocol=True)
    known = await said(server, "EHLO x", before=b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 25\r\n")
    other = await said(server, before=b"PROXY TCP4 192.0.2.9 192.0.2.8 4711 25\r\n")
    assert [reply[:3] for reply in known] == ["220", "250"]
    assert other == [""]
    assert seen() == [("PROXY", "192.0.2.7", 4711, True, True), ("PROXY", "192.0.2.9", 4711, True, True)]


async def test_a_handler_without_the_hook_welcomes_every_proxy(start_server: Any) -> None:
    server = await start_server(handler="aiosmtpd.handlers:Sink", proxy_protocol=True)
    assert (await said(server, before=b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 25\r\n"))[0].startswith("220")


@pytest.mark.parametrize(
    "wrong", ["aiosmtpd.handlers:Debugging nowhere", "aiosmtpd.handlers:Mailbox", "aiosmtpd.handlers:Sink 'open", ""]
)
def test_arguments_that_do_not_fit(wrong: str) -> None:
    with pytest.raises(SettingsError, match="--handler") as error:
        load_handler(wrong)
    assert "\n" not in str(error.value)
