"""The clients of the standard library walk through each protocol."""

from __future__ import annotations

import asyncio
import imaplib
import poplib
import smtplib
import ssl
import time
import warnings
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest

from emulator import certificates
from emulator.server import Server

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        import nntplib
    except ImportError:  # gone since Python 3.13
        nntplib = None  # type: ignore[assignment]

SECONDS_MAX = 10


@pytest.fixture
async def server(start_server: Any) -> Server:
    found: Server = await start_server(
        users=["alice:secret", "bob:secret"], groups=("misc.test",), smtps_port=0, imaps_port=0, pop3s_port=0
    )
    return found


async def walk(function: Callable[[Server], None], server: Server) -> None:
    async with asyncio.timeout(60):
        await asyncio.to_thread(function, server)


def trusting() -> ssl.SSLContext:
    return certificates.authority(None).client_context()


def letter(subject: str = "walk") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "bob@x.test", "alice@x.test", subject
    message.set_content("text\n.\n..two dots\n")
    message.add_alternative("<p>html</p>", subtype="html")
    message.add_attachment(b"\0\1\2" * 100, maintype="application", subtype="octet-stream", filename="ünïcode.bin")
    return message


def smtp_walk(server: Server) -> None:
    with smtplib.SMTP(*server.addresses["smtp"], timeout=SECONDS_MAX) as client:
        code, _ = client.ehlo()
        assert code == 250
        for extension in ("size", "8bitmime", "smtputf8", "pipelining", "auth", "starttls"):
            assert client.has_extn(extension), extension
        assert client.send_message(letter()) == {}
        assert client.verify("alice@x.test")[0] in (250, 252)
        assert client.noop()[0] == 250
        assert client.help()
        assert client.rset()[0] == 250
        client.starttls(context=trusting())
        client.ehlo()
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("alice", "wrong")
        client.login("alice", "secret")
        client.sendmail("alice@x.test", ["bob@x.test", "alice@x.test"], letter("authenticated").as_bytes(policy=SMTP))
    with smtplib.SMTP_SSL(*server.addresses["smtps"], timeout=SECONDS_MAX, context=trusting()) as client:
        client.sendmail(
            "ünï@x.test", ["alice@x.test"], "Subject: utf8\r\n\r\nü".encode(), ["SMTPUTF8", "BODY=8BITMIME"]
        )


async def test_smtplib(server: Server) -> None:
    await walk(smtp_walk, server)
    await server.inbound.settled()
    assert len(server.store.mailbox("alice").inbox.messages) == 3
    assert len(server.store.mailbox("bob").inbox.messages) == 1


def send_two(server: Server) -> None:
    with smtplib.SMTP(*server.addresses["smtp"], timeout=SECONDS_MAX) as client:
        client.send_message(letter("one"))
        client.send_message(letter("two"))


def pop3_walk(server: Server) -> None:
    client = poplib.POP3(*server.addresses["pop3"], timeout=SECONDS_MAX)
    assert {"UIDL", "TOP", "USER", "STLS", "SASL"} <= set(client.capa())
    client.stls(context=trusting())
    client.user("alice")
    client.pass_("secret")
    assert client.stat()[0] == 2
    assert len(client.list()[1]) == 2
    uids = client.uidl()[1]
    assert len(set(uids)) == 2
    lines = client.retr(1)[1]
    assert b"Subject: one" in lines
    assert b"..two dots" in lines
    assert b"." in lines
    assert client.top(2, 0)[1][-1] == b""
    client.dele(1)
    client.rset()
    client.dele(1)
    assert client.noop().startswith(b"+OK")
    client.quit()
    again = poplib.POP3_SSL(*server.addresses["pop3s"], timeout=SECONDS_MAX, context=trusting())
    again.user("alice")
    again.pass_("secret")
    assert again.uidl()[1][0].split()[1] == uids[1].split()[1]
    again.quit()


async def test_poplib(server: Server) -> None:
    await walk(send_two, server)
    await server.inbound.settled()
    await walk(pop3_walk, server)


def imap_walk(server: Server) -> None:
    with imaplib.IMAP4(*server.addresses["imap"], timeout=SECONDS_MAX) as client:
        client.starttls(trusting())
        client.login("alice", "secret")
        assert client.select("INBOX") == ("OK", [b"2"])
        assert client.search(None, "SUBJECT", "one")[1] == [b"1"]
        client.literal = b"text"  # type: ignore[attr-defined]
        assert client.search("UTF-8", "TEXT")[1] == [b"1 2"]
        kind, data = client.fetch("1", "(FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE)")
        assert kind == "OK"
        assert b"application" in data[0].lower()
        body = client.fetch("1", "(BODY.PEEK[1.1])")[1][0][1]
        assert body.startswith(b"text\r\n.\r\n")
        assert client.fetch("1", "(BODY.PEEK[TEXT]<0.4>)")[1][0][1][:2] == b"--"
        assert client.store("1", "+FLAGS", r"(\Deleted \Flagged)")[0] == "OK"
        assert client.create("Archive/2026")[0] == "OK"
        assert client.copy("1:2", "Archive/2026")[0] == "OK"
        assert client.expunge()[1] == [b"1"]
        assert client.append("Archive/2026", r"(\Seen)", imaplib.Time2Internaldate(time.time()), b"Subject: a\r\n\r\n")[
            0
        ] == ("OK")
        assert client.status("Archive/2026", "(MESSAGES UNSEEN UIDNEXT)")[1] == [
            b"Archive/2026 (MESSAGES 3 UNSEEN 2 UIDNEXT 4)"
        ]
        assert client.rename("Archive/2026", "Archive/old")[0] == "OK"
        assert any(b"Archive/old" in line for line in client.list()[1])
        assert client.subscribe("Archive/old")[0] == "OK"
        assert client.lsub()[0] == "OK"
        assert client.uid("FETCH", "1:*", "(UID FLAGS)")[0] == "OK"
        assert client.namespace()[0] == "OK"
        assert client.unselect()[0] == "OK"
        assert client.delete("Archive/old")[0] == "OK"
        assert client.noop()[0] == "OK"
    with imaplib.IMAP4_SSL(*server.addresses["imaps"], timeout=SECONDS_MAX, ssl_context=trusting()) as client:
        client.authenticate("PLAIN", lambda challenge: b"\0alice\0secret")
        assert client.select("INBOX", readonly=True)[1] == [b"1"]
        assert client.close()[0] == "OK"


async def test_imaplib(server: Server) -> None:
    await walk(send_two, server)
    await server.inbound.settled()
    await walk(imap_walk, server)


def nntp_walk(server: Server) -> None:
    host, port = server.addresses["nntp"]
    with nntplib.NNTP(host, port, timeout=SECONDS_MAX, readermode=True) as client:
        client.starttls(trusting())
        client.login("alice", "secret")
        assert "READER" in client.getcapabilities()
        article = (
            b"From: a@b.test\r\nNewsgroups: misc.test\r\nSubject: post\r\nMessage-ID: <p1@b.test>\r\n\r\n.text\r\n"
        )
        assert client.post(article).startswith("240")
        assert client.group("misc.test")[1:4] == (1, 1, 1)
        assert client.article("<p1@b.test>")[1].lines[-1] == b".text"
        assert client.over((1, 1))[1][0][1]["subject"] == "post"
        assert client.xhdr("subject", "1-1")[1] == [("1", "post")]
        assert [group.group for group in client.list()[1]] == ["misc.test"]
        assert client.stat("1")[1] == 1
        assert client.head("1")[1].lines
        assert client.body("1")[1].lines == [b".text"]
        with pytest.raises(nntplib.NNTPTemporaryError, match=r"441|435"):
            client.post(article)
        assert client.date()[0].startswith("111")
        assert client.help()[1]


async def test_nntplib(server: Server) -> None:
    if nntplib is None:  # nothing to walk with: the other interop tests cover it
        return
    await walk(nntp_walk, server)
