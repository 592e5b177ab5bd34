from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from emulator.content import Content
from emulator.server import Server
from harness.workbench import Workbench
from protocols.ports import Target

StartServer = Callable[..., Awaitable[Server]]


@pytest.fixture
async def workbench(start_server: StartServer) -> Workbench:
    return Workbench.of(await start_server(users=["alice:secret"]))


async def put(workbench: Workbench, subject: str) -> None:
    inbox = workbench.server.store.mailboxes["alice"].inbox
    await workbench.server.converter.put(f"Subject: {subject}\r\n\r\nx\r\n".encode(), [Target(inbox)])


async def test_what_was_there_before_is_taken_in(start_server: StartServer) -> None:
    server = await start_server(users=["alice:secret"])
    await server.converter.put(b"Subject: early\r\n\r\n", [Target(server.store.mailboxes["alice"].inbox)])
    (entry,) = Workbench.of(server).archive.since()
    assert entry.recipients == ("alice",)


async def test_messages_alike_are_told_apart_in_linear_time(
    workbench: Workbench, linear: Callable[[Callable[[int], object], int], None]
) -> None:
    content = Content(b"\0" * 16, 1)
    folder = SimpleNamespace(folder_id=7, owner=None, name="x")
    archive = workbench.archive

    def add(count: int) -> None:
        for uid in range(count):
            message = SimpleNamespace(folder=folder, uid=uid, content=content, save_date=uid, internal_date=uid)
            archive._add(message, float(uid))  # type: ignore[arg-type]
        assert len(archive._by_digest[content.digest]) == count
        archive.clear()

    linear(add, 300)


async def test_waiting_takes_each_once(workbench: Workbench) -> None:
    archive, taken = workbench.archive, set[int]()
    waiting = asyncio.ensure_future(archive.wait(lambda entry, view: view.subject == "b", taken=taken, seconds_max=5))
    await asyncio.sleep(0)
    await put(workbench, "a")
    await put(workbench, "b")
    entry = await waiting
    assert entry is not None
    assert await archive.wait(lambda entry, view: view.subject == "b", taken=taken, seconds_max=0.01) is None
    assert archive.get("latest") is entry


async def test_listeners_hear_of_new_changed_gone(workbench: Workbench) -> None:
    heard: list[str] = []
    workbench.archive.listeners.append(lambda what, entry: heard.append(what))
    await put(workbench, "a")
    store = workbench.server.store
    inbox = store.mailboxes["alice"].inbox
    await store.set_flags(inbox, list(inbox.messages), "+", frozenset({"\\Seen"}))
    await store.expunge(inbox, list(inbox.messages))
    assert heard == ["new", "changed", "gone"]
    assert len(workbench.archive) == 0
