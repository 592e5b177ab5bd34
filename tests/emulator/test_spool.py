"""The spool, in memory and on disk: what was acknowledged is there, whole, under its name; nothing else is."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import spool as module
from emulator.config import SettingsError
from emulator.spool import (
    BAD,
    IN,
    MTS_OUT,
    NAME_CHARACTERS,
    OUT,
    DiskSpool,
    Envelope,
    MemorySpool,
    pack,
    spool_names,
    unpack,
)
from protocols.ports import Unavailable

ENVELOPE = Envelope("a@b.test", ("c@d.test", "e@f.test"), 12.5, {"ret": "HDRS"})


@pytest.fixture(params=["memory", "disk"])
def spool(request, tmp_path):
    if request.param == "memory":
        yield MemorySpool()
        return
    disk = DiskSpool(tmp_path)
    disk.open()
    yield disk
    disk.close()


async def test_what_was_written_is_read(spool):
    names = [await spool.write(IN, ENVELOPE, b"message %d" % n) for n in range(3)]
    assert names == sorted(set(names))
    assert [name for name, _ in await spool.names(IN)] == names
    assert await spool.read(IN, names[1]) == (ENVELOPE, b"message 1")
    await spool.remove(IN, names[1])
    await spool.remove(IN, names[1])
    with pytest.raises(FileNotFoundError):
        await spool.read(IN, names[1])
    assert await spool.names(OUT) == []


async def test_the_envelope_alone(spool):
    name = await spool.write(MTS_OUT, ENVELOPE, b"line\n" * 3)
    assert await spool.envelope(MTS_OUT, name) == ENVELOPE
    with pytest.raises(FileNotFoundError):
        await spool.envelope(OUT, name)


async def test_many_at_once(spool):
    names = await asyncio.gather(*(spool.write(IN, ENVELOPE, b"%d" % n) for n in range(100)))
    read = await asyncio.gather(*(spool.read(IN, name) for name in names))
    assert [octets for _, octets in read] == [b"%d" % n for n in range(100)]


async def test_bad_keeps_the_message_and_says_why(spool):
    name = await spool.write(IN, ENVELOPE, b"poison")
    await spool.move(IN, name, BAD, "it could not be converted")
    assert await spool.names(IN) == []
    envelope, octets = await spool.read(BAD, name)
    assert (envelope.reason, octets) == ("it could not be converted", b"poison")


async def test_a_name_is_gone_when_no_crash_can_bring_it_back(tmp_path):
    spool = DiskSpool(tmp_path)
    spool.open()
    name = await spool.write(IN, ENVELOPE, b"x")
    await spool.remove(IN, name)
    async with asyncio.timeout(5):
        while (tmp_path / "Imcdata" / "In" / name).exists() or not spool._removed:
            await asyncio.sleep(0.01)
    assert spool.gone() == [], "its folder was not synced since"
    await spool.write(OUT, ENVELOPE, b"x")
    assert spool.gone() == []
    await spool.write(IN, ENVELOPE, b"x")
    assert spool.gone() == [name]
    assert spool.gone() == []
    spool.close()


async def test_closing_removes_what_was_to_be_removed(tmp_path):
    spool = DiskSpool(tmp_path)
    spool.open()
    names = [await spool.write(IN, ENVELOPE, b"x") for _ in range(3)]
    for name in names[:2]:
        await spool.remove(IN, name)
    assert [name for name, _ in await spool.names(IN)] == names[2:]
    spool.close()
    assert [path.name for path in (tmp_path / "Imcdata" / "In").iterdir()] == names[2:]


async def test_what_was_written_just_now_is_not_read_from_disk_again(tmp_path):
    spool = DiskSpool(tmp_path)
    spool.open()
    name = await spool.write(IN, ENVELOPE, b"x")
    (tmp_path / "Imcdata" / "In" / name).rename(tmp_path / "aside")
    assert await spool.read(IN, name) == (ENVELOPE, b"x")
    with pytest.raises(FileNotFoundError):
        await spool.read(IN, name)
    (tmp_path / "aside").rename(tmp_path / "Imcdata" / "In" / name)
    assert await spool.read(IN, name) == (ENVELOPE, b"x"), "a second attempt reads the file"
    spool.close()


async def test_memory_for_what_was_written_just_now_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FRESH_OCTETS_MAX", 1000)
    spool = DiskSpool(tmp_path)
    spool.open()
    names = [await spool.write(IN, ENVELOPE, b"x" * 400) for _ in range(5)]
    assert spool._fresh_octets <= 1000
    assert [(await spool.read(IN, name))[1] for name in names] == [b"x" * 400] * 5
    assert spool._fresh_octets == 0
    spool.close()


async def test_what_was_being_written_is_removed_at_the_start(tmp_path):
    spool = DiskSpool(tmp_path)
    spool.open()
    (tmp_path / "Imcdata" / "In" / "AAAAAAAA.tmp").write_bytes(b"half")
    (tmp_path / "Imcdata" / "In" / "notes.txt").write_bytes(b"somebody's")
    spool.open()
    assert [path.name for path in (tmp_path / "Imcdata" / "In").iterdir()] == ["notes.txt"]
    assert await spool.names(IN) == []
    spool.close()


async def test_a_file_that_is_no_spool_file_goes_to_bad_as_it_is(tmp_path):
    spool = DiskSpool(tmp_path)
    spool.open()
    (tmp_path / "Imcdata" / "In" / "AAAAAAAA").write_bytes(b"no envelope")
    with pytest.raises(ValueError, match="JSON"):
        await spool.read(IN, "AAAAAAAA")
    await spool.move(IN, "AAAAAAAA", BAD, "damaged")
    assert (tmp_path / "Imcdata" / "BAD" / "AAAAAAAA").read_bytes() == b"no envelope"
    spool.close()


@pytest.mark.parametrize("call", ["write", "fsync", "open"])
async def test_an_error_of_the_disk_refuses_and_leaves_nothing(tmp_path, monkeypatch, call):
    spool = DiskSpool(tmp_path)
    spool.open()
    real, failing = getattr(os, call), True

    def fails(*args, **kwargs):
        if failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **kwargs)

    monkeypatch.setattr(module.os, call, fails)
    with pytest.raises(Unavailable, match="No space left on device"):
        await spool.write(IN, ENVELOPE, b"x")
    failing = False
    assert list((tmp_path / "Imcdata" / "In").iterdir()) == []
    await spool.write(IN, ENVELOPE, b"x")
    spool.close()


async def test_short_writes_go_on(tmp_path, monkeypatch):
    spool = DiskSpool(tmp_path)
    spool.open()
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda file, data: real(file, bytes(data)[:7]))
    name = await spool.write(IN, ENVELOPE, b"a message longer than seven octets")
    assert (await spool.read(IN, name))[1] == b"a message longer than seven octets"
    spool.close()


def test_a_place_that_cannot_be_used(tmp_path):
    (tmp_path / "Imcdata").write_text("a file")
    with pytest.raises(SettingsError, match="choose another directory"):
        DiskSpool(tmp_path).open()


def test_names_ascend_though_the_clock_stands_still():
    draw = spool_names(lambda: 1_700_000_000.0)
    names = [draw() for _ in range(100)]
    assert names == sorted(set(names))
    assert {len(name) for name in names} == {NAME_CHARACTERS}


@given(
    st.text(),
    st.lists(st.text()),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dictionaries(st.text(), st.text() | st.integers()),
    st.binary(),
)
def test_packing_loses_nothing(reverse_path, recipients, at, options, octets):
    envelope = Envelope(reverse_path, tuple(recipients), at, options)
    assert unpack(pack(envelope, octets)) == (envelope, octets)


@given(st.binary() | st.sampled_from([b"{}\n", b"[]\n", b"3\n", b"[" * 99999 + b"\n", b'{"from": 1, "to": 2}\n']))
def test_unpacking_anything_raises_nothing_unexpected(octets):
    try:
        unpack(octets)
    except ValueError:
        pass


async def test_attempts_outlive_the_process_and_go_with_the_message(tmp_path):
    first = DiskSpool(tmp_path)
    first.open()
    name, other = [await first.write(IN, ENVELOPE, b"x") for _ in range(2)]
    await first.note_attempts(name, 1)
    await first.note_attempts(name, 2)
    await first.note_attempts(other, 1)
    await first.note_attempts(other, 0)
    first.close()
    (tmp_path / "Imcdata" / IN / "ABCDEFGH.1").touch()  # of a message that is gone
    second = DiskSpool(tmp_path)
    second.open()
    assert [second.attempts(each) for each in (name, other, "ABCDEFGH")] == [2, 0, 0]
    assert [found for found, _ in await second.names(IN)] == [name, other]
    await second.move(IN, name, BAD, "too often")
    await second.remove(IN, other)
    second.close()
    assert list((tmp_path / "Imcdata" / IN).iterdir()) == []
