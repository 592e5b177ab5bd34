"""A second server that begins where the first one stands, with its mailboxes, UIDs and flags, and goes its own way."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emulator.changes import AnnotationSet, Loaded, SubscriptionsSet
from emulator.config import Settings
from emulator.content import Content
from emulator.server import Server

if TYPE_CHECKING:
    from protocols.ports import Clock

PORTS = ("smtp", "pop3", "imap", "nntp", "smtps", "pop3s", "imaps", "nntps", "lmtp")


def settings_beside(settings: Settings, ports: Mapping[str, int] | None = None) -> Settings:
    """Settings for another server in this process: in memory, empty, on ports of its own (any free ones)."""
    chosen: dict[str, Any] = {
        f"{name}_port": (ports or {}).get(name, 0)
        for name in PORTS
        if getattr(settings, f"{name}_port") is not None or name in (ports or {})
    }
    alone: dict[str, Any] = {"accounts": (), "groups": (), "load": (), "newsfeeds": (), "data": None}
    return replace(settings, lmtp_socket=None, **alone, **chosen)


async def fork(server: Server, *, settings: Settings | None = None, clock: Clock | None = None) -> Server:
    """Start a copy on free ports, in memory. Costs a record for each message; the messages themselves are shared.

    `settings`: those of the copy; its accounts and newsgroups are added to what is copied. The caller has to stop the
    copy (`stop`, `kill`). What is in queues stays with the first. Raises SettingsError, UnknownBuild.
    """
    wanted = settings or settings_beside(server.settings)
    copy = Server(replace(wanted, accounts=(), groups=()), clock=clock)
    await copy.start()
    try:
        await _fill(copy, server)
        for account in wanted.accounts:
            await copy.directory.add_user(account.name, account.password)
        for group in wanted.groups:
            if group not in copy.store.newsgroups:
                await copy.store.create_newsgroup(group)
    except BaseException:
        await copy.kill()
        raise
    return copy


async def _fill(copy: Server, server: Server) -> None:
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
