"""All messages of the corpus, octet for octet: in by SMTP and APPEND, out by POP3, IMAP4, and NNTP."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.server import Server
from harness.clients import ImapClient, Pop3Client, SmtpClient

pytestmark = [pytest.mark.corpus, pytest.mark.timeout(300)]


def with_final_crlf(octets: bytes) -> bytes:
    """SMTP and POP3 cannot carry a message whose last line has no end."""
    return octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n"


async def fetch_all(server: Server, user: str, count: int) -> list[bytes]:
    async with await ImapClient.connect(server.addresses["imap"]) as client:
        await client.login(user, "secret")
        await client.command("SELECT INBOX")
        return [await client.fetch_body(number) for number in range(1, count + 1)]


async def test_by_smtp_and_out_by_pop3_and_imap(start_server: Any, corpus: list[tuple[str, bytes]]) -> None:
    server = await start_server(users=["alice:secret"], inbound_threads=1)
    async with await SmtpClient.connect(server.addresses["smtp"]) as smtp:
        await smtp.hello()
        for _, octets in corpus:
            await smtp.send("a@b.test", ["alice@x.test"], with_final_crlf(octets))
    await server.inbound.settled()
    async with await Pop3Client.connect(server.addresses["pop3"]) as client:
        await client.login("alice", "secret")
        by_pop3 = [await client.retrieve(number) for number in range(1, len(corpus) + 1)]
    by_imap = await fetch_all(server, "alice", len(corpus))
    wrong = []
    for (name, octets), one, other in zip(corpus, by_pop3, by_imap, strict=True):
        sent = with_final_crlf(octets)
        trace = one[: len(one) - len(sent)]
        if not (one == other and one.endswith(sent) and trace.startswith(b"Return-Path: <a@b.test>\r\nReceived: ")):
            wrong.append(name)
        elif trace.count(b"\r\n") > 6 or b"\r\n\r\n" in trace:
            wrong.append(f"{name}: more than trace fields was prepended")
    assert not wrong, f"{len(wrong)} of {len(corpus)} differ: {wrong[:10]}"


async def test_by_append_and_out_by_imap(start_server: Any, corpus: list[tuple[str, bytes]]) -> None:
    server = await start_server(users=["alice:secret"])
    async with await ImapClient.connect(server.addresses["imap"]) as client:
        await client.login("alice", "secret")
        for _, octets in corpus:
            await client.append("INBOX", octets)
    out = await fetch_all(server, "alice", len(corpus))
    wrong = [name for (name, octets), got in zip(corpus, out, strict=True) if got != octets]
    assert not wrong, f"{len(wrong)} of {len(corpus)} differ: {wrong[:10]}"
