"""The overview: kept with the content, true at each reading."""

from __future__ import annotations

from harness.clients import NntpClient
from protocols.mime.structure import parse
from protocols.nntp.overview import OVERVIEW_KEY, one_field, overview_of
from protocols.ports import Target


def test_what_does_not_depend_on_the_place() -> None:
    octets = b"Subject: a\r\n\tb\r\nfrom: x@y\r\nMessage-ID: <1@x>\r\nReferences: <0@x>\r\n\r\none\r\ntwo\r\n"
    assert overview_of(octets, parse(octets)) == (b"a b\tx@y\t\t<1@x>\t<0@x>", len(octets), b"2")
    assert overview_of(b"\r\n", parse(b"\r\n")) == (b"\t\t\t<0>\t", 2, b"0")
    assert one_field(b"a\0b\tc\rd\ne") == b"a b c d e"


async def test_xref_and_bytes_follow_the_places(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("a.one", "b.two"))
    one, two = server.store.newsgroups["a.one"], server.store.newsgroups["b.two"]
    octets = b"Subject: s\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"
    first, second = await server.converter.put(octets, [Target(one), Target(two)])
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        for places, message in ((b"a.one:1 b.two:1", first), (b"a.one:1", first)):
            await client.command("OVER <1@x>", 224)
            fields = (await client.block()).rstrip(b"\r\n").split(b"\t")
            assert fields[8] == b"Xref: mailjam.test " + places
            assert int(fields[6]) == len(await client.article("<1@x>"))
            assert OVERVIEW_KEY in message.content.derived
            await server.store.expunge(two, [second])


async def test_a_long_overview_comes_whole(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("a.one",))
    group = server.store.newsgroups["a.one"]
    (message,) = await server.converter.put(b"Subject: s\r\nMessage-ID: <1@x>\r\n\r\n", [Target(group)])
    await server.store.copy([message] * 4999, group)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.command("GROUP a.one", 211)
        for command in ("OVER 1-", "HDR Subject 1-", "XPAT Subject 1- s", "LISTGROUP"):
            await client.command(command)
            lines = (await client.block()).splitlines()
            assert len(lines) == 5000, command
            assert lines[-1].startswith(b"5000"), command
