"""Stored passwords."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import passwords
from emulator.config import Account, Settings
from emulator.directory import Directory
from emulator.durable import open_store
from emulator.events import Bus
from emulator.passwords import PasswordVerifier, hash_password, verify_password
from emulator.server import Server
from harness.clients import ImapClient, Refused


def test_the_stored_form_is_salted_and_names_its_parameters():
    one, two = hash_password("secret"), hash_password("secret")
    assert one != two
    assert one.startswith("scrypt$14$8$1$")
    assert "secret" not in one
    assert verify_password("secret", one)
    assert not verify_password("Secret", one)


@settings(max_examples=15)
@given(st.text(max_size=40), st.text(max_size=40))
def test_only_the_password_opens(right, wrong):
    stored = hash_password(right, log2_n=4)
    assert verify_password(right, stored)
    assert verify_password(wrong, stored) == (wrong == right)


@pytest.mark.parametrize(
    "stored",
    ["", "plain", "scrypt$14$8$1$x", "scrypt$14$8$1$!$!", "scrypt$99$8$1$AAAA$AAAA", "scrypt$30$8$1$AAAA$AAAA"],
)
def test_what_is_no_stored_password_opens_nothing(stored):
    assert not verify_password("", stored)
    assert not verify_password("plain", stored)


def test_a_right_password_is_derived_once(monkeypatch):
    verifier, stored, calls = PasswordVerifier(), hash_password("secret", log2_n=4), []
    real = passwords._derive
    monkeypatch.setattr(passwords, "_derive", lambda *args: calls.append(1) or real(*args))
    assert all(verifier.verify("secret", stored) for _ in range(5))
    assert len(calls) == 1
    assert not verifier.verify("wrong", stored)
    assert not verifier.verify("wrong", stored)
    assert len(calls) == 3


async def test_accounts_of_a_data_directory_keep_their_passwords(tmp_path):
    settings_ = Settings(data=tmp_path, strict_users=True)
    store = await open_store(settings_)
    directory = Directory(settings_, store, Bus())
    await directory.add_user("Alice", "secret")
    assert directory.authenticate("alice", "secret") == "alice"
    await store.close()
    assert b"secret" not in (tmp_path / "store.sqlite3").read_bytes()
    store = await open_store(settings_)
    directory = Directory(settings_, store, Bus())
    assert directory.users == ("alice",)
    assert directory.authenticate("ALICE", "secret") == "alice"
    assert directory.authenticate("alice", "Secret") is None
    assert directory.secret("alice") is None, "nobody knows it in plain any more"
    await directory.add_user("alice", "new")
    assert directory.authenticate("alice", "secret") is None
    await store.close()


async def test_passwords_of_the_command_line_are_not_written(tmp_path):
    settings_ = Settings(data=tmp_path, accounts=(Account("bob", "plain"),))
    store = await open_store(settings_)
    directory = Directory(settings_, store, Bus())
    await directory.add_user("bob", "plain")
    assert directory.authenticate("bob", "plain") == "bob"
    assert directory.secret("bob") == "plain"
    assert store.annotations == {}
    await store.close()


async def test_others_go_on_while_a_stored_password_is_checked(tmp_path, monkeypatch):
    going_on = threading.Event()

    def slow(password: str, stored: str) -> bool:
        return going_on.wait(30) and password == "secret"

    monkeypatch.setattr(passwords, "verify_password", slow)
    async with Server(Settings(data=tmp_path, strict_users=True, tls=False)) as server:
        await server.directory.add_user("alice", "secret")
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(await ImapClient.connect(server.addresses["imap"])) for _ in range(6)
            ]
            logins = [asyncio.ensure_future(client.login("alice", "secret")) for client in clients[:4]]
            by_sasl = asyncio.ensure_future(clients[4].authenticate_plain("alice", "wrong"))
            await clients[5].command("NOOP")
            assert not any(login.done() for login in logins)
            going_on.set()
            await asyncio.gather(*logins)
            with pytest.raises(Refused):
                await by_sasl
