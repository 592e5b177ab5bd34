"""The Internet News Service (MSExchangeINS) behind the NNTP front-end: newsfeeds and expiry."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import TYPE_CHECKING

from protocols.ports import Services

from .config import SettingsError
from .events import Bus
from .expiry import Expiry
from .feeds import Newsfeeds
from .news_history import HistoryKeeper
from .scheduling import AsyncioScheduler

if TYPE_CHECKING:
    from .config import Settings
    from .store import Store


def _authorities(settings: Settings) -> ssl.SSLContext | None:
    if settings.newsfeed_tls_ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=settings.newsfeed_tls_ca)
    except OSError as error:  # SSLError is one
        raise SettingsError(f"newsfeed_tls_ca {settings.newsfeed_tls_ca}: {error.strerror or error}") from error


class InternetNews:
    """What news needs beyond its readers: feeds and expiry where the settings name some, and the history."""

    def __init__(
        self, settings: Settings, scheduler: AsyncioScheduler, services: Services, store: Store, bus: Bus
    ) -> None:
        """Raises SettingsError for authorities that cannot be read."""
        self._settings = settings
        self._scheduler = scheduler
        context = _authorities(settings)
        self._new_feeds = partial(Newsfeeds, settings, scheduler, services, store, bus, context=context)
        self._new_expiry = partial(Expiry, settings, services)
        self.feeds, self.expiry = self._new_feeds(), self._new_expiry()
        self._stopped = False
        self.history = HistoryKeeper(scheduler, services, store)
        """What has been here: kept by the information store, whether this service runs or not."""
        self._expiring: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with the feeds' rounds and expiry, or begin anew."""
        if self._stopped:
            self.feeds, self.expiry = self._new_feeds(), self._new_expiry()
        self.feeds.start()
        if self._settings.article_expire_seconds:
            self._expiring = self._scheduler.spawn(self.expiry.actor, self.expiry.run())

    async def stop(self) -> None:
        """Let all finish what they are doing: under a jam, never."""
        self.expiry.close()
        await self.feeds.stop()
        if self._expiring is not None:
            await asyncio.wait([self._expiring])
            self._expiring = None
        self._stopped = True
