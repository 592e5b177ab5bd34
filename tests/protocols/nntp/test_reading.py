"""Articles come out as they went in, whatever they hold; the selected newsgroup may change underneath."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.config import Settings
from emulator.server import Server
from harness.clients import NntpClient, Refused
from protocols.nntp.reading import header_end
from protocols.ports import Target, Unavailable


@pytest.fixture
async def server(start_server) -> Server:  # type: ignore[no-untyped-def]
    started: Server = await start_server(groups=("misc.test",), smtp_port=None, imap_port=None, pop3_port=None)
    for number in range(1, 6):
        octets = b"Subject: %d\r\nMessage-ID: <%d@x>\r\n\r\n.%d\r\n" % (number, number, number)
        await started.converter.put(octets, [Target(started.store.newsgroups["misc.test"])])
    return started


async def connect(server: Server) -> NntpClient:
    return await NntpClient.connect(server.addresses["nntp"])


async def test_corpus_comes_out_as_it_went_in(server: Server, corpus: list[tuple[str, bytes]]) -> None:
    group = server.store.newsgroups["misc.test"]
    messages = [(await server.converter.put(octets, [Target(group)]))[0] for _, octets in corpus]
    async with await connect(server) as client:
        await client.command("GROUP misc.test", 211)
        client.write(b"".join(b"ARTICLE %d\r\n" % message.uid for message in messages))
        for name, octets in corpus:
            assert (await client.line()).startswith(b"220"), name
            xref, _, article = (await client.block()).partition(b"\r\n")
            assert xref.startswith(b"Xref: mailjam.test misc.test:")
            assert article in (octets, octets + b"\r\n"), name


async def test_next_and_last_pass_over_gaps(server: Server) -> None:
    group = server.store.newsgroups["misc.test"]
    await server.store.expunge(group, group.messages[1:4])
    async with await connect(server) as client:
        assert await client.command("GROUP misc.test") == b"211 2 1 5 misc.test"
        assert (await client.command("NEXT", 223)).startswith(b"223 5 <5@x>")
        assert (await client.command("LAST", 223)).startswith(b"223 1 <1@x>")
        assert (await client.command("STAT 3")).startswith(b"423")


async def test_the_current_article_may_go(server: Server) -> None:
    group = server.store.newsgroups["misc.test"]
    async with await connect(server) as client:
        await client.command("GROUP misc.test", 211)
        await server.store.expunge(group, group.messages[:1])
        assert (await client.command("ARTICLE")).startswith(b"420")
        assert (await client.command("ARTICLE <1@x>")).startswith(b"430")
        assert (await client.command("NEXT", 223)).startswith(b"223 2 <2@x>")


async def test_the_selected_newsgroup_may_go(server: Server) -> None:
    async with await connect(server) as client:
        await client.command("GROUP misc.test", 211)
        await server.store.delete_newsgroup("misc.test")
        for command in ("ARTICLE 1", "NEXT", "OVER 1-", "LISTGROUP", "STAT", "HDR Subject 1-", "XPAT Subject 1- *"):
            assert (await client.command(command)).startswith(b"412"), command
        await client.command("DATE", 111)


async def test_a_store_that_cannot_read_now_is_403(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(*_: object) -> bytes:
        raise Unavailable("the store is busy")

    monkeypatch.setattr(server.converter, "octets", busy)
    async with await connect(server) as client:
        with pytest.raises(Refused, match="403 the store is busy"):
            await client.command("ARTICLE <1@x>", 220)
        await client.command("STAT <1@x>", 223)


@pytest.mark.parametrize(
    ("octets", "end"),
    [(b"A: b\r\n\r\nc", 6), (b"\r\nbody", 0), (b"A: b\r\n", 6), (b"", 0), (b"A: b\r\n\r\n", 6)],
)
def test_header_end(octets: bytes, end: int) -> None:
    assert header_end(octets) == end


WORDS = (
    "ARTICLE HEAD BODY STAT GROUP LISTGROUP LAST NEXT LIST NEWNEWS NEWGROUPS POST IHAVE XOVER OVER XHDR HDR XPAT DATE "
    "HELP MODE AUTHINFO STARTTLS COMPRESS CAPABILITIES CHECK TAKETHIS XGTITLE QUIT XYZZY"
)
ARGUMENTS = (
    "",
    " 1",
    " 1-",
    " 3-1",
    " <a@b>",
    " misc.test",
    " misc.test 1-2",
    " Subject 1-",
    " :bytes <a@b>",
    " * 20200101 000000",
    " ACTIVE *,!a",
    " Subject 1- *[a",
    " USER x",
    " SASL PLAIN =",
    " STREAM",
)
LINES = st.builds(lambda a, b: f"{a}{b}\r\n".encode(), st.sampled_from(WORDS.split()), st.sampled_from(ARGUMENTS))
BLOCKS = st.sampled_from((b".\r\n", b"From: a@b\r\nSubject: x\r\nNewsgroups: misc.test\r\n\r\nx\r\n.\r\n"))


@given(st.lists(LINES | BLOCKS | st.binary(max_size=30), max_size=12))
@settings(max_examples=40)
def test_whatever_a_peer_says_is_answered_by_replies(chunks: list[bytes]) -> None:
    async def exchange() -> None:
        only = Settings(groups=("misc.test",), smtp_port=None, imap_port=None, pop3_port=None, tls=False)
        async with Server(only) as server, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*server.addresses["nntp"])
            for chunk in (b"GROUP misc.test\r\n", *chunks):
                writer.write(chunk)
            writer.write_eof()
            answers = await reader.read()
            writer.close()
            assert answers.startswith(b"200 ")
            assert server.scheduler.failures == []

    asyncio.run(exchange())
