"""Which articles have been here: duplicate suppression by Message-ID (RFC 5537 sections 3.3 and 3.6).

Articles that are kept are found in the store. The history holds the rest: those that expired, were cancelled or
refused, and those that are on their way in at this moment.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from protocols.ports import Services

_KEY = "nntp.history"


class History:
    """Message-IDs that shall not come again; the oldest are forgotten first."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._gone: OrderedDict[bytes, None] = OrderedDict()
        self._arriving: set[bytes] = set()
        self._fresh: dict[bytes, None] = {}
        self._watcher: Callable[[], None] | None = None
        self._kept: Callable[[], Awaitable[None]] | None = None

    def watch(self, watcher: Callable[[], None] | None, kept: Callable[[], Awaitable[None]] | None = None) -> None:
        """Call `watcher` when there is something new that `take_fresh` gives, to be kept elsewhere; None: no more.

        `kept` returns once it is there.
        """
        self._watcher, self._kept = watcher, kept
        self._fresh.clear()

    async def kept(self) -> None:
        """Return when all that was remembered so far outlives the process, where anything does. Raises Unavailable."""
        if self._kept is not None and self._fresh:
            await self._kept()

    def take_fresh(self) -> list[bytes]:
        """What was remembered since the last call."""
        fresh, self._fresh = list(self._fresh), {}
        return fresh

    def put_back(self, message_ids: list[bytes]) -> None:
        """They could not be kept: they are fresh still, as many as are remembered at all."""
        self._fresh = dict.fromkeys((*message_ids[-self._entries_max :], *self._fresh))

    def __len__(self) -> int:
        return len(self._gone)

    def remember(self, message_id: bytes) -> None:
        """The article is not, or no longer, kept and not wanted again."""
        self._gone.pop(message_id, None)
        self._gone[message_id] = None
        while len(self._gone) > self._entries_max:
            self._gone.popitem(last=False)
        if self._watcher is not None:
            self._fresh[message_id] = None
            self._watcher()

    def forget(self, message_id: bytes) -> None:
        """Let the article come again."""
        self._gone.pop(message_id, None)

    def __contains__(self, message_id: bytes) -> bool:
        return message_id in self._gone

    def is_arriving(self, message_id: bytes) -> bool:
        """Whether another session is taking this article in now."""
        return message_id in self._arriving

    @contextmanager
    def arriving(self, message_id: bytes) -> Iterator[bool]:
        """Claim the Message-ID while its article is taken in; False when another session has claimed it."""
        if message_id in self._arriving:
            yield False
            return
        self._arriving.add(message_id)
        try:
            yield True
        finally:
            self._arriving.discard(message_id)


def history_of(services: Services) -> History:
    """The one history of a server."""
    history = services.shared.get(_KEY)
    if history is None:
        history = services.shared[_KEY] = History(services.settings.limits.nntp_history_entries_max)
    assert isinstance(history, History)
    return history


def is_known(services: Services, message_id: bytes) -> bool:
    """Whether the article is here or has been."""
    return bool(services.store.find_message_id(message_id)) or message_id in history_of(services)
