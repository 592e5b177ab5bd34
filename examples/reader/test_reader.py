from __future__ import annotations

import threading
from typing import Any

import pytest
from reader import Reader


@pytest.fixture
def reader(mailjam: Any) -> Reader:
    user = mailjam.user("alice", "secret")
    return Reader(mailjam.imap, user.name, user.password, seconds_max=1.0)


def test_reads_each_message_once(mailjam: Any, reader: Reader) -> None:
    mailjam.put(mailjam.message("one"), "alice")
    assert reader.collect() == 1
    mailjam.put(mailjam.message("two"), "alice")
    assert (reader.collect(), reader.collect()) == (1, 0)
    assert reader.subjects == ["one", "two"]


def test_survives_a_jam(mailjam: Any, reader: Reader) -> None:
    """The information store stops in the middle of a FETCH, as in KB Q279798, and comes back."""
    mailjam.put(mailjam.message("one"), "alice")
    mailjam.server.converter.forget_converted()
    jam = mailjam.fault("jam", protocol="imap", command="UID FETCH", section="imail")
    assert reader.collect() == 0
    assert reader.failures == 1
    assert mailjam.jam()["sections"][0]["owner"].startswith("fault-")
    jam.release()
    assert reader.collect() == 1
    assert reader.subjects == ["one"]


def test_survives_a_cut_in_a_literal(mailjam: Any, reader: Reader) -> None:
    mailjam.put(mailjam.message("one"), "alice")
    mailjam.fault("truncate", protocol="imap", command="UID FETCH", octets=10)
    assert (reader.collect(), reader.failures) == (0, 1)
    assert reader.collect() == 1


def test_waits_out_a_slow_server(mailjam: Any, reader: Reader) -> None:
    mailjam.put(mailjam.message("one"), "alice")
    held = mailjam.fault("hang", protocol="imap", command="LOGIN")
    thread = threading.Thread(target=reader.collect)
    thread.start()
    while not held.holding:
        pass
    held.release()
    thread.join()
    assert reader.subjects == ["one"]


def test_begins_anew_with_a_new_uidvalidity(mailjam: Any, reader: Reader) -> None:
    mailjam.put(mailjam.message("one"), "alice")
    reader.collect()
    mailjam.trick("bump-uidvalidity", folder="alice")
    assert reader.collect() == 1
    assert reader.subjects == ["one", "one"]
