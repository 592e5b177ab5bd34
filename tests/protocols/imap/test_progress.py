"""INPROGRESS (RFC 9585): a search that takes long says how far it is."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from protocols.imap import progress
from protocols.ports import Target


@pytest.mark.parametrize("hidden", [False, True])
async def test_a_long_search_says_how_far_it_is(start_server: Any, monkeypatch: Any, hidden: bool) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.0)
    names = frozenset({"INPROGRESS"}) if hidden else frozenset()
    server = await start_server(users=["alice:secret"], capabilities_hidden=names)
    inbox = server.store.mailboxes["alice"].inbox
    for number in range(20):
        await server.converter.put(b"Subject: %d\r\n\r\n%b\r\n" % (number, b"x" * 20_000), [Target(inbox)])
    reader, writer = await asyncio.open_connection(*server.addresses["imap"])
    writer.write(b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc SEARCH TEXT nothing\r\nd LOGOUT\r\n")
    async with asyncio.timeout(60):
        said = await reader.read()
    writer.close()
    assert b"c OK SEARCH completed" in said
    assert (b" INPROGRESS" in said) is not hidden
    told = [tuple(map(int, found)) for found in re.findall(rb'\* OK \[INPROGRESS \("c" (\d+) (\d+)\)\]', said)]
    assert bool(told) is not hidden
    assert told == sorted(told)
    assert all(0 < done < goal == 20 for done, goal in told)
