"""POP3 over real sockets: the case files, and what a C:/S: file cannot say."""

from __future__ import annotations

import asyncio
import hashlib
import poplib
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.config import Account, Settings
from emulator.server import Server
from harness.clients import Pop3Client, Refused
from harness.dialogue import Case, read_cases
from protocols.pop3 import exchange55_name
from protocols.ports import Target, Unavailable

CASES = list(read_cases(Path(__file__).parent.parent / "dialogues" / "pop3"))


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_case(case: Case, dialogue) -> None:  # type: ignore[no-untyped-def]
    await dialogue(case)


def test_each_case_names_its_source() -> None:
    assert len(CASES) >= 60
    for case in CASES:
        assert case.title.endswith("]"), case
        assert "[RFC " in case.title or "[KB " in case.title or "[draft-" in case.title, case


@pytest.fixture
async def server(start_server) -> Server:  # type: ignore[no-untyped-def]
    started: Server = await start_server(users=["alice:secret"], smtp_port=None, imap_port=None, nntp_port=None)
    mailbox = await started.directory.recipient("alice")
    for number in range(3):
        octets = b"Subject: %d\r\n\r\n.dotted\r\n%s" % (number, b"line\r\n" * number)
        await started.converter.put(octets, [Target(mailbox.inbox)])
    return started


async def login(server: Server) -> Pop3Client:
    client = await Pop3Client.connect(server.addresses["pop3"])
    await client.login("alice", "secret")
    return client


async def test_apop_with_the_right_digest(server: Server) -> None:
    async with await Pop3Client.connect(server.addresses["pop3"]) as client:
        found = re.search(rb"<[^>]+>", client.greeting)
        assert found
        digest = hashlib.md5(found[0] + b"secret").hexdigest()
        await client.command(f"APOP alice {digest}")
        assert (await client.command("STAT")).startswith(b"+OK 3 ")


async def test_the_apop_timestamp_is_never_the_same(server: Server) -> None:
    greetings = set()
    for _ in range(5):
        async with await Pop3Client.connect(server.addresses["pop3"]) as client:
            greetings.add(client.greeting)
    assert len(greetings) == 5


async def test_unique_ids_stay_when_messages_go(server: Server) -> None:
    async with await login(server) as client:
        await client.command("UIDL")
        before = [line.split()[1] for line in (await client.block()).splitlines()]
        assert len(set(before)) == 3
        await client.command("DELE 1")
        await client.command("QUIT")
    async with await login(server) as client:
        await client.command("UIDL")
        after = [line.split()[1] for line in (await client.block()).splitlines()]
    assert after == before[1:]


async def test_what_was_retrieved_is_seen_by_others_afterwards(server: Server) -> None:
    inbox = server.store.mailboxes["alice"].inbox
    async with await login(server) as client:
        assert await client.retrieve(2) == b"Subject: 1\r\n\r\n.dotted\r\nline\r\n"
        await client.command("QUIT")
        with pytest.raises(asyncio.IncompleteReadError):
            await client.line()
    assert [sorted(message.flags) for message in inbox.messages] == [[], ["\\Seen"], []]


async def test_the_maildrop_is_as_it_stood_at_login(server: Server) -> None:
    inbox = server.store.mailboxes["alice"].inbox
    async with await login(server) as client:
        await server.converter.put(b"Subject: late\r\n\r\n", [Target(inbox)])
        await server.store.expunge(inbox, [inbox.messages[0]])
        assert (await client.command("STAT")).startswith(b"+OK 3 ")
        with pytest.raises(Refused):
            await client.command("RETR 4")
        await client.command("DELE 1")
        await client.command("DELE 2")
        await client.command("QUIT")
    assert [message.uid for message in inbox.messages] == [3, 4]


async def test_quit_says_when_messages_could_not_be_removed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any, **__: Any) -> list[int]:
        raise Unavailable("the disk is full")

    async with await login(server) as client:
        await client.command("DELE 1")
        monkeypatch.setattr(server.store, "expunge", full)
        with pytest.raises(Refused, match=r"SYS/TEMP.*disk is full"):
            await client.command("QUIT")
    monkeypatch.undo()
    async with await login(server) as client:
        assert (await client.command("STAT")).startswith(b"+OK 3 ")


async def test_a_store_that_cannot_read_now_is_a_temporary_error(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: Any) -> bytes:
        raise Unavailable("the store is busy")

    monkeypatch.setattr(server.converter, "octets", busy)
    async with await login(server) as client:
        with pytest.raises(Refused, match=r"-ERR \[SYS/TEMP\] the store is busy"):
            await client.command("RETR 1")
        await client.command("NOOP")


async def test_silence_ends_the_session_without_a_word_and_without_deleting(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"], pop3_idle_seconds_max=0.05)
    mailbox = await server.directory.recipient("alice")
    await server.converter.put(b"Subject: x\r\n\r\n", [Target(mailbox.inbox)])
    async with await login(server) as client:
        await client.command("DELE 1")
        with pytest.raises(asyncio.IncompleteReadError) as ended:
            await client.line()
        assert ended.value.partial == b""
    assert len(mailbox.inbox.messages) == 1
    assert mailbox.locked_by is None


def _stls(address: tuple[str, int]) -> tuple[bytes, dict[str, list[str]], tuple[int, int]]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = poplib.POP3(*address, timeout=10)
    with pytest.raises(poplib.error_proto):
        client.user("alice")
    answer = client.stls(context)
    capabilities = client.capa()
    client.user("alice")
    client.pass_("secret")
    counts = client.stat()
    client.quit()
    return answer, capabilities, counts


async def test_stls(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"], plaintext_login=False)
    answer, capabilities, counts = await asyncio.to_thread(_stls, server.addresses["pop3"])
    assert answer.startswith(b"+OK")
    assert "STLS" not in capabilities
    assert "PLAIN" in capabilities["SASL"]
    assert counts == (0, 0)


async def test_a_long_listing_comes_whole(server: Server) -> None:
    inbox = server.store.mailboxes["alice"].inbox
    await server.store.copy([inbox.messages[0]] * 12_000, inbox)
    async with await login(server) as client:
        await client.command("LIST")
        assert (await client.block()).count(b"\r\n") == 12_003
        await client.command("UIDL")
        lines = (await client.block()).splitlines()
        assert len(set(lines)) == 12_003
        assert lines[-1].startswith(b"12003 ")


async def test_corpus_comes_out_as_it_went_in(start_server, corpus) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(users=["alice:secret"])
    mailbox = await server.directory.recipient("alice")
    for _, octets in corpus:
        await server.converter.put(octets, [Target(mailbox.inbox)])
    async with await login(server) as client:
        client.write(b"".join(b"RETR %d\r\n" % number for number in range(1, len(corpus) + 1)))
        for name, octets in corpus:
            assert (await client.line()).startswith(b"+OK"), name
            block = await client.block()
            assert block in (octets, octets + b"\r\n"), name


@pytest.mark.parametrize(
    ("login_name", "user"),
    [("alice", "alice"), ("D\\alice", "alice"), ("D/alice/box", "alice"), ("D\\alice\\box", "alice"), ("D/", "D/")],
)
def test_names_of_exchange55(login_name: str, user: str) -> None:
    assert exchange55_name(login_name) == user


VERBS = st.sampled_from(
    "USER PASS APOP AUTH STLS UTF8 CAPA LANG QUIT STAT LIST UIDL RETR TOP DELE NOOP RSET user XYZZY".split()  # noqa: SIM905
)
ARGUMENTS = st.sampled_from(
    ("", " ", " alice", " secret", " 1", " 1 1", " 99", " PLAIN", " PLAIN =", " *", " -1", " en")
)
LINES = st.builds(lambda verb, argument: f"{verb}{argument}\r\n".encode(), VERBS, ARGUMENTS)
CHUNKS = st.lists(LINES | st.binary(max_size=30), max_size=12)


@given(CHUNKS)
@settings(max_examples=40)
def test_whatever_a_peer_says_is_answered_by_replies(chunks: list[bytes]) -> None:
    async def exchange() -> None:
        only = Settings(
            accounts=(Account("alice", "secret"),), smtp_port=None, imap_port=None, nntp_port=None, tls=False
        )
        async with Server(only) as server, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*server.addresses["pop3"])
            writer.write(b"USER alice\r\nPASS secret\r\n" if len(chunks) % 2 else b"NOOP\r\n")
            for chunk in chunks:
                writer.write(chunk)
            writer.write_eof()
            answers = await reader.read()
            writer.close()
            assert answers.startswith(b"+OK")
            assert server.scheduler.failures == []
            assert all(mailbox.locked_by is None for mailbox in server.store.mailboxes.values())

    asyncio.run(exchange())
