"""A second server that begins where the first one stands, with its mailboxes, UIDs and flags, and goes its own way."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emulator.changes import AnnotationSet, Loaded, SubscriptionsSet
from emulator.content import Content
from emulator.server import Server

if TYPE_CHECKING:
    from protocols.ports import Clock

PORTS = ("smtp", "pop3", "imap", "nntp", "smtps", "pop3s", "imaps", "nntps", "lmtp", "http")


async def fork(server: Server, *, clock: Clock | None = None) -> Server:
    """Start a copy on free ports, in memory. Costs a record for each message; the messages themselves are shared.

    The copy is started and has to be stopped by the caller (`stop`, `kill`). What is in queues stays with the first.
    """
    ports: dict[str, Any] = {
        f"{name}_port": None if getattr(server.settings, f"{name}_port", None) is None else 0
        for name in PORTS
        if hasattr(server.settings, f"{name}_port")
    }
    settings = replace(server.settings, accounts=(), groups=(), load=(), data=None, **ports)
    copy = Server(settings, clock=clock)
    await copy.start()
    try:
        collecting = gc.isenabled()
        gc.disable()  # hundreds of thousands of objects that all stay: to look through them meanwhile only costs time
        try:
            copy.store.restore(await _loaded(server))
        finally:
            if collecting:
                gc.enable()
        copy.directory.take_over(server.directory)
        for name in copy.store.mailboxes:
            copy.directory._index(name)
    except BaseException:
        await copy.kill()
        raise
    return copy


async def _loaded(server: Server) -> Loaded:
    store = server.store
    rows: dict[bytes, int] = {}
    contents: dict[int, Content] = {}
    messages = []
    for folder in sorted(store.folders_by_id.values(), key=lambda each: each.folder_id):
        for message in tuple(folder.messages):
            content = message.content
            row = rows.get(content.digest)
            if row is None:
                row = rows[content.digest] = len(rows) + 1
                properties = content.message or await store.read(message)
                contents[row] = Content(content.digest, content.size, properties, content.message_id)
            messages.append(
                (
                    *(folder.folder_id, message.uid, message.modseq, message.flags),
                    *(message.internal_date, message.zone_minutes, message.save_date, row),
                )
            )
    return Loaded(
        mailboxes=list(store.mailboxes),
        folders=[folder.saved() for folder in store.folders_by_id.values()],
        subscriptions=[SubscriptionsSet(box.name, tuple(box.subscriptions)) for box in store.mailboxes.values()],
        annotations=[AnnotationSet(scope, key, value) for (scope, key), value in store.annotations.items()],
        contents=contents,
        messages=messages,
        vanished=[(f.folder_id, modseq, uid) for f in store.folders_by_id.values() for modseq, uid in f.vanished],
        vanished_floors={f.folder_id: f.vanished_floor for f in store.folders_by_id.values()},
        last_folder_id=max(store.folders_by_id, default=0),
        last_uid_validity=max((f.uid_validity for f in store.folders_by_id.values()), default=0),
    )
