"""How addresses and logins find mailboxes."""

from typing import Any

import pytest

from emulator.config import Account, Settings
from emulator.directory import Directory, split_address
from emulator.events import Bus, DirectoryChanged
from emulator.store import Store
from protocols.ports import NoSuchMailbox


async def directory_with(*accounts: str, **fields: Any) -> Directory:
    settings = Settings(accounts=tuple(Account(name, "secret") for name in accounts), **fields)
    directory = Directory(settings, Store(settings), Bus())
    for name in accounts:
        await directory.add_user(name, "secret")
    return directory


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("alice", ("alice", "")),
        ("alice@Example.COM", ("alice", "example.com")),
        ('"a@b"@c', ("a@b", "c")),
        ("a@b.", ("a", "b")),
    ],
)
def test_split_address(address: str, parts: tuple[str, str]) -> None:
    assert split_address(address) == parts


async def test_an_account_gets_mail_for_its_local_part_in_any_domain() -> None:
    directory = await directory_with("alice", "bob@example.com")
    assert directory.find("ALICE@anywhere.test") == "alice"
    assert directory.find("alice+tag@anywhere.test") == "alice"
    assert directory.find("bob@example.com") == "bob@example.com"
    assert directory.find("bob@elsewhere.test") is None
    assert directory.find("bob") == "bob@example.com"


async def test_a_mailbox_is_made_on_delivery_and_opens_to_any_password() -> None:
    directory = await directory_with("alice")
    mailbox = await directory.recipient("new@example.com")
    assert mailbox.name == "new@example.com"
    assert directory.authenticate("new@example.com", "anything") == "new@example.com"
    assert directory.authenticate("new", "anything") == "new@example.com"
    assert directory.authenticate("new", "") is None
    assert directory.authenticate("nobody", "anything") is None
    assert (await directory.login("new")) is mailbox


async def test_passwords() -> None:
    directory = await directory_with("alice")
    assert directory.authenticate("Alice", "secret") == "alice"
    assert directory.authenticate("alice", "wrong") is None
    assert directory.secret("alice") == "secret"
    assert directory.secret("bob") is None


async def test_without_accounts_anybody_may_log_in() -> None:
    directory = await directory_with()
    assert directory.authenticate("anyone", "x") == "anyone"
    assert (await directory.login("anyone")).name == "anyone"


async def test_strict_users() -> None:
    directory = await directory_with("alice", strict_users=True)
    with pytest.raises(NoSuchMailbox):
        directory.check_recipient("bob@example.com")
    with pytest.raises(NoSuchMailbox):
        await directory.recipient("bob@example.com")
    with pytest.raises(NoSuchMailbox):
        await directory.login("bob")
    assert directory.authenticate("bob", "x") is None
    directory.check_recipient("alice@example.com")


async def test_tokens_and_lists() -> None:
    directory = await directory_with("alice")
    directory.add_token("t0ken", "alice")
    assert directory.token_user("t0ken") == "alice"
    assert directory.token_user("other") is None
    directory.add_list("team@example.com", ("alice", "bob@example.com"))
    assert directory.members("TEAM@example.com") == ("alice", "bob@example.com")
    assert directory.members("alice") is None
    directory.check_recipient("team@example.com")


async def test_changes_are_told_to_the_notification_thread() -> None:
    settings = Settings()
    bus, seen = Bus(), []
    bus.on(DirectoryChanged, seen.append)
    directory = Directory(settings, Store(settings), bus)
    await directory.add_user("alice", "secret")
    assert [event.what for event in seen] == ["user alice"]
    assert directory.serial == 1


async def test_mail_for_postmaster_is_always_taken() -> None:
    directory = await directory_with("alice", strict_users=True, domains=("x.test",))
    with pytest.raises(NoSuchMailbox):
        directory.check_recipient("postmaster@elsewhere.test")
    for address in ("postmaster", "PostMaster@x.test", "postmaster@localhost"):
        directory.check_recipient(address)
        assert (await directory.recipient(address)).name == "postmaster"
    assert directory.authenticate("postmaster", "anything") is None
