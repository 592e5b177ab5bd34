"""The raw clients."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from harness.clients import ImapClient, NntpClient, Pop3Client, Refused, SmtpClient

DOTS = b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n"


async def test_each_speaks_its_protocol_whole(start_server: Any) -> None:
    server = await start_server(users=["alice:secret"], groups=("misc.test",))
    async with await SmtpClient.connect(server.addresses["smtp"]) as smtp:
        await smtp.hello()
        await smtp.send("a@b.test", ["alice@x.test"], DOTS)
        with pytest.raises(Refused, match="50"):
            await smtp.command("NONSENSE", 250)
    await server.inbound.settled()
    async with await Pop3Client.connect(server.addresses["pop3"]) as pop3:
        with pytest.raises(Refused):
            await pop3.login("alice", "wrong")
        await pop3.login("alice", "secret")
        assert (await pop3.retrieve(1)).endswith(DOTS)
    async with await ImapClient.connect(server.addresses["imap"]) as imap:
        await imap.authenticate_plain("alice", "secret")
        await imap.append("INBOX", DOTS)
        await imap.command("SELECT INBOX")
        assert await imap.fetch_body(2) == DOTS
        with pytest.raises(Refused):
            await imap.command("SELECT nowhere")
    async with await NntpClient.connect(server.addresses["nntp"]) as news:
        await news.login("alice", "secret")
        await news.post(b"From: a@b.test\r\nNewsgroups: misc.test\r\n" + DOTS)
        await news.command("GROUP misc.test", 211)
        assert (await news.article("1")).endswith(DOTS.partition(b"\r\n\r\n")[2])


async def test_a_server_that_says_nothing() -> None:
    gone = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        writer.transport.abort()
        gone.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    with pytest.raises(TimeoutError):
        await SmtpClient.connect(server.sockets[0].getsockname(), seconds_max=0.05)
    await gone.wait()
    server.close()
    await server.wait_closed()
