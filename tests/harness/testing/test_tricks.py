from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from emulator.server import Server
from harness.clients import ImapClient, Refused
from harness.workbench import Workbench
from protocols.ports import OverQuota, Target


@pytest.fixture
async def workbench(start_server: Callable[..., Awaitable[Server]]) -> Workbench:
    made = Workbench.of(await start_server(users=["alice:secret"]))
    inbox = made.server.store.mailboxes["alice"].inbox
    for number in range(3):
        await made.server.converter.put(f"Subject: {number}\r\n\r\n".encode(), [Target(inbox)])
    return made


async def test_expunged_behind_a_session(workbench: Workbench) -> None:
    async with await ImapClient.connect(workbench.server.addresses["imap"]) as client:
        await client.login("alice", "secret")
        await client.command("SELECT INBOX")
        await workbench.tricks.do("expunge", {"folder": "alice", "uids": [2]})
        assert b"* 2 EXPUNGE" in b"\n".join(await client.command("NOOP"))


async def test_new_uid_validity_ends_the_selection(workbench: Workbench) -> None:
    async with await ImapClient.connect(workbench.server.addresses["imap"]) as client:
        await client.login("alice", "secret")
        await client.command("SELECT INBOX")
        await workbench.tricks.do("bump-uidvalidity", {"folder": "alice"})
        with pytest.raises((Refused, OSError, EOFError)):
            await _two_commands(client)


async def _two_commands(client: ImapClient) -> None:
    """The first may still be answered before the session says BYE."""
    await client.command("NOOP")
    await client.command("FETCH 1 FLAGS")


async def test_renumbered(workbench: Workbench) -> None:
    inbox = workbench.server.store.mailboxes["alice"].inbox
    await workbench.tricks.renumber(inbox)
    assert inbox.uids == [4, 5, 6]
    views = [await workbench.archive.view(entry) for entry in workbench.archive.since()]
    assert [view.subject for view in views] == ["0", "1", "2"]
    await workbench.tricks.expunge(inbox, [4])
    assert len(workbench.archive) == 2


async def test_quota_and_date(workbench: Workbench) -> None:
    inbox = workbench.server.store.mailboxes["alice"].inbox
    await workbench.tricks.do("quota", {"octets": 5})
    with pytest.raises(OverQuota):
        await workbench.server.converter.put(b"Subject: too much\r\n\r\n", [Target(inbox)])
    done = await workbench.tricks.do(
        "internaldate", {"folder": "alice", "uid": 1, "date": "Thu, 01 Jan 1970 00:01:00 +0000"}
    )
    assert done["internal_date"] == 60
    with pytest.raises(LookupError, match="no trick"):
        await workbench.tricks.do("vanish", {})
