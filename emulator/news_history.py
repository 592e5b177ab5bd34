"""The history of articles across restarts: what `protocols.nntp.history` remembers is kept in the store.

Message-IDs are kept in batches, each an annotation of its own: a batch is what was remembered while the one before was
written. A cancelled article is in a batch before its cancel message is acknowledged. Of what expired or was refused a
crash forgets at most the last batch: then such an article may come once more, to expire or to be refused again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protocols.actor import Actor
from protocols.nntp.history import history_of
from protocols.ports import PortError, Services, Unavailable

if TYPE_CHECKING:
    from .scheduling import AsyncioScheduler, Waiter
    from .store import Store

SCOPE = "news-history"
"""Where batches are annotated in the store; their keys are numbers, so that they sort by age."""
BATCHES_MAX = 200
"""Above it all batches are made into large ones."""
BATCH_ENTRIES = 2000
RETRY_SECONDS = 1.0
"""Until the next try when the store could not keep a batch."""


class HistoryKeeper:
    """Loads the history at start and writes down what is added to it."""

    def __init__(self, scheduler: AsyncioScheduler, services: Services, store: Store) -> None:
        self._scheduler = scheduler
        self._services = services
        self._store = store
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._waiters: list[Waiter] = []
        """Who waits until what is fresh now was written."""
        self._batches: dict[int, int] = {}
        """Message-IDs in each batch, oldest batch first."""

    def start(self) -> None:
        """Load, and begin to write."""
        history = history_of(self._services)
        for scope, key in sorted(self._store.annotations):
            if scope == SCOPE and key.isdigit():
                names = self._store.annotations[scope, key].split(b"\n")
                self._batches[int(key)] = len(names)
                for name in names:
                    history.remember(name)
        history.watch(self._wake.set, self._kept)
        self._closing = False
        self._task = self._scheduler.spawn(Actor("news-history"), self._run())

    async def stop(self) -> None:
        """Write what waits, and end."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task = None
        history_of(self._services).watch(None)

    async def _kept(self) -> None:
        if self._closing:
            raise Unavailable("the service is stopping")
        waiter = self._scheduler.waiter()
        self._waiters.append(waiter)
        await waiter

    async def _run(self) -> None:
        history = history_of(self._services)
        while True:
            await self._wake.wait()
            closing = self._closing
            self._wake.clear()
            names = history.take_fresh()
            waiters, self._waiters = self._waiters, []
            try:
                if names:
                    await self._keep(names)
                for waiter in waiters:
                    waiter.wake()
            except PortError as error:  # the store is full or ends: they stay remembered in memory
                history.put_back(names)
                for waiter in waiters:
                    waiter.fail(error)
                if not closing:
                    await asyncio.sleep(RETRY_SECONDS)
                    self._wake.set()
            if closing:
                return

    async def _keep(self, names: list[bytes]) -> None:
        number = max(self._batches, default=0) + 1
        await self._store.annotate(SCOPE, f"{number:012}", b"\n".join(names))
        self._batches[number] = len(names)
        limit = self._services.settings.limits.nntp_history_entries_max
        total = sum(self._batches.values())
        while len(self._batches) > 1 and total - (oldest := next(iter(self._batches.items())))[1] >= limit:
            await self._drop(oldest[0])
            total -= oldest[1]
        if len(self._batches) > max(BATCHES_MAX, 2 * total // BATCH_ENTRIES):
            await self._compact()

    async def _drop(self, number: int) -> None:
        await self._store.annotate(SCOPE, f"{number:012}", None)
        del self._batches[number]

    async def _compact(self) -> None:
        """Make few large batches of many small ones: written before the small ones go, so that a crash loses none."""
        old = list(self._batches)
        names = [name for number in old for name in self._store.annotations[SCOPE, f"{number:012}"].split(b"\n")]
        for start in range(0, len(names), BATCH_ENTRIES):
            number = max(self._batches) + 1
            batch = names[start : start + BATCH_ENTRIES]
            await self._store.annotate(SCOPE, f"{number:012}", b"\n".join(batch))
            self._batches[number] = len(batch)
        for number in old:
            await self._drop(number)
