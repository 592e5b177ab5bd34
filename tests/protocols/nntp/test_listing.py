"""Lists of newsgroups and articles."""

from __future__ import annotations

from harness.clients import NntpClient
from protocols.ports import Target


async def test_lists_from_the_settings(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(
        nntp_motd="one\ntwo",
        nntp_subscriptions=("misc.test", "alt.test"),
        nntp_moderators=(("mod.*", "%s@example.com"),),
        nntp_distributions=(("local", "here"),),
        nntp_distribution_patterns=((10, "local.*", "local"),),
    )
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        for keyword, wanted in {
            "MOTD": b"one\r\ntwo\r\n",
            "SUBSCRIPTIONS": b"misc.test\r\nalt.test\r\n",
            "SUBSCRIPTIONS alt.*": b"alt.test\r\n",
            "MODERATORS": b"mod.*:%s@example.com\r\n",
            "DISTRIBUTIONS": b"local\there\r\n",
            "DISTRIB.PATS": b"10:local.*:local\r\n",
        }.items():
            await client.command(f"LIST {keyword}", 215)
            assert await client.block() == wanted, keyword
        await client.command("CAPABILITIES", 101)
        capabilities = await client.block()
        for keyword in (b"MOTD", b"SUBSCRIPTIONS", b"MODERATORS", b"DISTRIBUTIONS", b"DISTRIB.PATS"):
            assert keyword in capabilities


async def test_water_marks_do_not_fall_when_articles_go(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("a.one",))
    group = server.store.newsgroups["a.one"]
    messages = [(await server.converter.put(b"Subject: %d\r\n\r\n" % n, [Target(group)]))[0] for n in range(3)]
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await server.store.expunge(group, messages[:1])
        assert await client.command("GROUP a.one") == b"211 2 2 3 a.one"
        await server.store.expunge(group, messages)
        assert await client.command("GROUP a.one") == b"211 0 4 3 a.one"
        await client.command("LIST ACTIVE a.one", 215)
        assert await client.block() == b"a.one 3 4 y\r\n"


async def test_ten_thousand_newsgroups(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=tuple(f"test.g{n}" for n in range(10_000)))
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.command("LIST", 215)
        assert len((await client.block()).splitlines()) == 10_000
        await client.command("LIST COUNTS *,!*9", 215)
        assert len((await client.block()).splitlines()) == 9_000


async def test_newnews_goes_by_arrival(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("a.one",))
    group = server.store.newsgroups["a.one"]
    for n in range(3):
        await server.converter.put(b"Message-ID: <%d@x>\r\n\r\n" % n, [Target(group)])
    for message, moment in zip(group.messages, (0.0, 86400.0 * 366, 86400.0 * 731), strict=True):
        message.save_date = moment
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        for date, wanted in (("19700101", 3), ("19710101", 2), ("19720101", 1), ("19730101", 0)):
            await client.command(f"NEWNEWS a.* {date} 000000 GMT", 230)
            assert len((await client.block()).splitlines()) == wanted
