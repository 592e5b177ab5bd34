"""What `--data DIR` keeps: the store in SQLite. `open_store` is the way in for a server.

DIR/store.sqlite3 (with `-wal` and `-shm` beside it) has mailboxes, folders, messages and contents; DIR/Imcdata is the
spool; DIR/lock keeps a second process out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from emulator.config import Settings
from emulator.store import Store

from .backend import DurableBackend

__all__ = ["DurableBackend", "open_store"]


async def open_store(settings: Settings, *, now: Callable[[], float] = time.time) -> Store:
    """The store for these settings, with all that was kept in `settings.data`; in memory where that is None.

    Raises SettingsError: directory in use, not writable, not ours, made by a newer mailjam.
    """
    if settings.data is None:
        return Store(settings, now=now)
    backend = DurableBackend(settings.data, cache_bytes_max=settings.content_cache_bytes_max)
    store = Store(settings, backend, now=now)
    await asyncio.to_thread(backend.open, store.restore)
    return store
