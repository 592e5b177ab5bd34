"""The Internet News Service (MSExchangeINS) behind the NNTP front-end: newsfeeds and expiry."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protocols.ports import Services

from .events import Bus
from .expiry import Expiry
from .feeds import Newsfeeds
from .scheduling import AsyncioScheduler

if TYPE_CHECKING:
    from .config import Settings
    from .store import Store


class InternetNews:
    """What news needs beyond its readers. Does nothing where the settings name no feeds and no age."""

    def __init__(
        self, settings: Settings, scheduler: AsyncioScheduler, services: Services, store: Store, bus: Bus
    ) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self.feeds = Newsfeeds(settings, scheduler, services, store, bus)
        self.expiry = Expiry(settings, services)
        self._expiring: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with the feeds' rounds and with expiry."""
        self.feeds.start()
        if self._settings.article_expire_seconds:
            self._expiring = self._scheduler.spawn(self.expiry.actor, self.expiry.run())

    async def stop(self) -> None:
        """Let both finish what they are doing: under a jam, never."""
        self.expiry.close()
        await self.feeds.stop()
        if self._expiring is not None:
            await asyncio.wait([self._expiring])
            self._expiring = None
