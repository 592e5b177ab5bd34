"""Each invariant is broken once; `check` must name it, `--repair` must leave a clean directory that lost nothing."""

from __future__ import annotations

import argparse
import os
import sqlite3
from types import SimpleNamespace

import pytest

from emulator.config import Settings, SettingsError
from emulator.durable.backend import DurableBackend
from emulator.durable.bodies import Codec
from emulator.durable.check import check_directory
from emulator.durable.names import FILE_NAME
from emulator.durable.repair import LOST_AND_FOUND, repair_directory
from emulator.spool import IN, DiskSpool, Envelope
from emulator.store import Store
from harness import check
from protocols.ports import Target


class Plain:
    modified = False
    structure = SimpleNamespace(headers={})

    def __init__(self, octets: bytes) -> None:
        self.octets = octets


def opened(directory) -> Store:
    backend = DurableBackend(directory, cache_bytes_max=1 << 20, codec=Codec(Plain, Plain))
    store = Store(Settings(), backend)
    backend.open(store.restore)
    return store


@pytest.fixture
async def directory(tmp_path):
    """Two mailboxes, six messages (one of them in two folders), a newsgroup, an expunge, a file in `In`."""
    store = opened(tmp_path)
    alice = await store.create_mailbox("alice")
    await store.create_mailbox("bob")
    group = await store.create_newsgroup("misc.test")
    for n in range(6):
        octets = b"Subject: %d\r\n\r\n" % n + b"text " * 500 * n
        targets = [Target(alice.inbox)] + ([Target(group)] if n == 5 else [])
        await store.append([(store.content_of(Plain(octets), octets), targets)])
    await store.expunge(alice.inbox, [alice.inbox.messages[2]])
    await store.create_folder(alice, "work")
    await store.close()
    spool = DiskSpool(tmp_path)
    spool.open()
    await spool.write(IN, Envelope("a@b", ("alice",)), b"Subject: spooled\r\n\r\n")
    return tmp_path


def change(directory, *statements: str) -> None:
    connection = sqlite3.connect(directory / FILE_NAME)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def kinds(report) -> set[str]:
    return {problem.kind for problem in report.problems}


async def texts(directory) -> set[bytes]:
    store = opened(directory)
    found = {
        (await store.read(message)).octets for folder in store.folders_by_id.values() for message in folder.messages
    }
    await store.close()
    return found


async def test_a_clean_directory(directory):
    report = check_directory(directory)
    assert report.clean
    assert report.counts["messages"] == 6
    assert report.counts["newsgroups"] == 1
    assert report.counts["messages in In"] == 1
    assert repair_directory(directory).repaired == []


DAMAGES = {
    "folder without mailbox": ["DELETE FROM mailboxes WHERE name = 'bob'"],
    "mailbox without INBOX": ["DELETE FROM folders WHERE mailbox = 'bob' AND name = 'INBOX'"],
    "folder name with control characters": ["UPDATE folders SET name = 'a' || char(10) || 'b' WHERE name = 'work'"],
    "folder name twice": ["UPDATE folders SET name = 'Sent' WHERE name = 'work'"],
    "UIDVALIDITY twice": [
        "UPDATE folders SET uid_validity = (SELECT min(uid_validity) FROM folders) WHERE name='work'"
    ],
    "number used again": ["UPDATE meta SET value = 1"],
    "UIDNEXT too small": ["UPDATE folders SET uid_next = 3 WHERE name = 'INBOX' AND mailbox = 'alice'"],
    "HIGHESTMODSEQ too small": ["UPDATE folders SET highest_modseq = 3 WHERE name = 'INBOX' AND mailbox = 'alice'"],
    "message without folder": ["DELETE FROM folders WHERE name = 'misc.test'"],
    "message without content": ["DELETE FROM contents WHERE content_id = 4"],
    "UID out of range": ["UPDATE messages SET uid = -4 WHERE uid = 4"],
    "vanished and there": ["INSERT INTO vanished VALUES (1, 2, 4)"],
    "vanished without folder": ["INSERT INTO vanished VALUES (999, 2, 4)"],
    "content twice": [
        "UPDATE contents SET digest = (SELECT digest FROM contents WHERE content_id = 1) WHERE content_id=2"
    ],
    "body without content": ["DELETE FROM contents WHERE content_id = 6"],
    "content without body": ["DELETE FROM bodies WHERE content_id = 4"],
    "body damaged": ["UPDATE bodies SET body = substr(body, 1, length(body) - 9) WHERE content_id = 4"],
    "subscription without mailbox": ["INSERT INTO subscriptions VALUES ('nobody', 'INBOX')"],
}


@pytest.mark.parametrize("kind", DAMAGES)
async def test_each_damage_is_named_and_repaired(directory, kind):
    before = await texts(directory)
    change(directory, *DAMAGES[kind])
    assert kind in kinds(check_directory(directory))
    report = repair_directory(directory)
    assert report.clean
    assert report.repaired
    assert check_directory(directory).clean
    lost = before - await texts(directory)
    assert len(lost) == (kind in ("content without body", "body damaged"))


async def test_what_belongs_nowhere_is_found_in_lost_and_found(directory):
    change(directory, "DELETE FROM folders WHERE name = 'misc.test'")
    report = repair_directory(directory)
    assert any(LOST_AND_FOUND in text for text in report.repaired)
    store = opened(directory)
    assert len(store.mailbox(LOST_AND_FOUND).inbox.messages) == 1
    await store.close()


async def test_a_wrong_digest_keeps_the_text(directory):
    change(directory, "UPDATE contents SET digest = x'00' WHERE content_id = 4")
    before = await texts(directory)
    assert kinds(check_directory(directory)) == {"body damaged"}
    assert repair_directory(directory).clean
    assert await texts(directory) == before


async def test_a_damaged_page_costs_what_was_in_it(directory):
    path = directory / FILE_NAME
    octets = bytearray(path.read_bytes())
    connection = sqlite3.connect(path)
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'subscriptions'").fetchone()[0]
    connection.close()
    octets[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    path.write_bytes(octets)
    assert kinds(check_directory(directory)) == {"file damaged"}
    report = repair_directory(directory)
    assert report.clean
    assert (directory / f"{FILE_NAME}.damaged").exists()
    assert check_directory(directory).counts["messages"] == 6


async def test_a_damaged_spool_file_goes_to_bad(directory):
    [path] = (directory / "Imcdata" / "In").iterdir()
    path.write_bytes(b"not json")
    assert kinds(check_directory(directory)) == {"spool file damaged"}
    assert repair_directory(directory).clean
    assert (directory / "Imcdata" / "BAD" / path.name).read_bytes() == b"not json"


async def test_not_while_a_server_uses_it(directory):
    store = opened(directory)
    with pytest.raises(SettingsError, match="in use by process"):
        check_directory(directory)
    await store.close()
    assert check_directory(directory).clean


def test_not_a_store(tmp_path):
    with pytest.raises(SettingsError, match="has no"):
        check_directory(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"anything " * 1000)
    assert "not a database" in check_directory(tmp_path).problems[0].text
    assert repair_directory(tmp_path).clean
    assert (tmp_path / f"{FILE_NAME}.damaged").read_bytes() == b"anything " * 1000


async def test_a_damaged_schema_loses_no_message(directory):
    path = directory / FILE_NAME
    octets = bytearray(path.read_bytes())
    place = octets.index(b"CREATE TABLE folders")
    octets[place : place + 6] = b"\x00REATE"
    path.write_bytes(octets)
    assert check_directory(directory).problems
    report = repair_directory(directory)
    assert report.clean, report.problems
    assert len(report.repaired) == 1, "the numbers given last are there too"
    store = opened(directory)
    assert [message.uid for message in store.mailbox("alice").inbox.messages] == [1, 2, 4, 5, 6]
    for message in store.mailbox("alice").inbox.messages:
        assert (await store.read(message)).octets.startswith(b"Subject: %d" % (message.uid - 1))
    await store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE messages SET flags = x'ff' WHERE uid = 1",
        "UPDATE messages SET internal_date = 'yesterday' WHERE uid = 1",
        "UPDATE messages SET modseq = 'x' WHERE uid = 1",
        "UPDATE folders SET uid_validity = 'x' WHERE name = 'INBOX'",
        "UPDATE folders SET name = x'ff0a' WHERE name = 'INBOX'",
        "UPDATE mailboxes SET name = x'ff' WHERE name = 'bob'",
        "UPDATE contents SET digest = 'x' WHERE content_id = 1",
        "UPDATE bodies SET body = 'x' WHERE content_id = 1",
        "DELETE FROM meta",
        "DROP TABLE vanished",
    ],
)
async def test_values_that_the_store_never_writes(directory, statement):
    change(directory, statement)
    assert check_directory(directory).problems
    report = repair_directory(directory)
    assert report.clean, report.problems
    store = opened(directory)
    found = sum(len(folder.messages) for folder in store.folders_by_id.values())
    assert found >= 6, "all messages, or what is left of one, are in a folder"
    await store.close()


async def test_what_is_no_file_in_the_spool_is_not_read(directory):
    os.mkfifo(directory / "Imcdata" / IN / "HBWK2Q2R")
    os.symlink(directory / FILE_NAME, directory / "Imcdata" / IN / "HBWK2Q2S")
    spool = DiskSpool(directory)
    spool.open()
    assert len(await spool.names(IN)) == 1
    spool.close()
    assert [problem.text.rpartition(": ")[2] for problem in check_directory(directory).problems] == [
        "it is no file"
    ] * 2
    assert repair_directory(directory).clean


async def test_the_command(directory, capsys):
    parser = argparse.ArgumentParser()
    check.add_parser(parser.add_subparsers())
    assert check.run(parser.parse_args(["check", str(directory)])) == 0
    assert "clean" in capsys.readouterr().out
    change(directory, *DAMAGES["UIDNEXT too small"])
    assert check.run(parser.parse_args(["check", str(directory)])) == 1
    assert "problem: folder 'INBOX' has UIDNEXT 3 and a UID 6" in capsys.readouterr().out
    assert check.run(parser.parse_args(["check", "--repair", str(directory)])) == 0
    assert "repaired: " in capsys.readouterr().out
    assert check.run(parser.parse_args(["check", str(directory / "none")])) == 2
    assert capsys.readouterr().err.count("\n") == 1
