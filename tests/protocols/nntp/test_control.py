"""Control messages: obeyed where the settings say so, and only there."""

from __future__ import annotations

import pytest

from harness.clients import NntpClient, Refused
from protocols.ports import Unavailable


def message(
    *, control: str = "", extra: str = "", sender: str = "a@b.example", body: str = "", name: str = "1"
) -> bytes:
    fields = f"Control: {control}\r\n" if control else ""
    return (
        f"From: {sender}\r\nNewsgroups: misc.test\r\nSubject: s\r\nMessage-ID: <{name}@x>\r\n"
        f"{fields}{extra}\r\n{body}\r\n"
    ).encode()


APPROVED = "Approved: a@b.example\r\n"


async def test_newgroup_and_rmgroup(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test",), nntp_control_messages=True)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        body = "For your newsgroups file:\r\nnew.one\tA new one\r\n"
        await client.post(message(control="newgroup new.one moderated", extra=APPROVED, body=body, name="1"))
        made = server.store.newsgroups["new.one"]
        assert (made.description, made.posting) == ("A new one", "m")
        await client.post(message(control="newgroup not.approved", name="2"))
        await client.post(message(control="newgroup bad..name", extra=APPROVED, name="3"))
        assert set(server.store.newsgroups) == {"misc.test", "new.one"}
        await client.post(message(control="rmgroup new.one", extra=APPROVED, name="4"))
        await client.post(message(control="rmgroup new.one", extra=APPROVED, name="5"))
        assert set(server.store.newsgroups) == {"misc.test"}


async def test_control_messages_are_read_in_their_own_newsgroup(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test", "control", "control.cancel"), nntp_control_messages=True)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.post(message(control="cancel <none@x>", name="1"))
        await client.post(message(control="sendsys", name="2"))
    counts = {name: len(group.messages) for name, group in server.store.newsgroups.items()}
    assert counts == {"misc.test": 0, "control": 1, "control.cancel": 1}


async def test_cancel_by_the_author_alone(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test", "control"), nntp_control_messages=True)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.post(message(name="1"))
        await client.post(message(control="cancel <1@x>", sender="other@b.example", name="2"))
        await client.command("STAT <1@x>", 223)
        await client.post(message(control="cancel <1@x>", sender="A <a@B.example>", name="3"))
        await client.command("STAT <1@x>", 430)
        with pytest.raises(Refused, match="441"):
            await client.post(message(name="1"))


async def test_a_cancel_may_come_before_its_article(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test", "control"), nntp_control_messages=True)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.post(message(control="cancel <late@x>", name="1"))
        await client.command("CHECK <late@x>", 438)


async def test_supersedes_replaces(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test",), nntp_control_messages=True)
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.post(message(name="1"))
        await client.post(message(name="2", extra="Supersedes: <1@x>\r\n"))
        await client.command("STAT <1@x>", 430)
        await client.command("STAT <2@x>", 223)


async def test_not_obeyed_by_default(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test",))
    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.post(message(name="1"))
        await client.post(message(control="cancel <1@x>", name="2"))
        await client.post(message(control="rmgroup misc.test", extra=APPROVED, name="3"))
        await client.command("STAT <1@x>", 223)
    assert len(server.store.newsgroups["misc.test"].messages) == 3


async def test_a_cancel_is_obeyed_before_it_is_stored(start_server, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(groups=("misc.test", "control"), nntp_control_messages=True)
    put = server.converter.put

    async def broken(*arguments: object) -> None:
        raise Unavailable("the disk is full")

    async with await NntpClient.connect(server.addresses["nntp"]) as client:
        await client.post(message(name="1"))
        monkeypatch.setattr(server.converter, "put", broken)
        with pytest.raises(Refused, match="441 try again later"):
            await client.post(message(control="cancel <1@x>", name="2"))
        monkeypatch.setattr(server.converter, "put", put)
        await client.command("STAT <1@x>", 430)
        await client.post(message(control="cancel <1@x>", name="2"))  # it comes again, as after a crash
        await client.command("STAT <2@x>", 223)
