"""Expiry of articles: by age, or by their own Expires field (RFC 5536 section 3.2.5).

What expires is remembered in the history, so that no peer brings it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from protocols.actor import Actor
from protocols.mime.dates import parse_date
from protocols.nntp.history import history_of
from protocols.ports import PortError, Services

if TYPE_CHECKING:
    from protocols.mime.structure import Part

    from .config import Settings

EXPIRES_KEY = "nntp.expires"
ARTICLES_PER_STEP = 500
"""Articles looked at before other tasks get their turn, and removed in one commit."""


@dataclass(frozen=True, slots=True)
class ArticlesExpired:
    """Event: articles were removed from a newsgroup."""

    group: str
    articles: int


def expires_of(_: bytes, part: Part) -> float | None:
    """The moment that the Expires field names, seconds since the epoch; None where there is none."""
    value = part.headers.get(b"expires")
    moment: datetime | None = parse_date(value) if value else None
    return moment.timestamp() if moment is not None else None


class Expiry:
    """The task that removes old articles."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self.actor = Actor("expiry")
        self._settings = settings
        self._services = services
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Expire at the interval of the settings until `close`."""
        while not self._stop.is_set():
            await self.round()
            try:
                async with asyncio.timeout(self._settings.article_expire_interval_seconds):
                    await self._stop.wait()
            except TimeoutError:
                pass

    def close(self) -> None:
        """End after the round at hand."""
        self._stop.set()

    async def round(self) -> int:
        """Remove what has expired by now: how many articles (copies of a crosspost count each)."""
        removed = 0
        for group in list(self._services.store.newsgroups.values()):
            try:
                removed += await self._expire(group)
            except PortError:
                continue  # the newsgroup is gone, or the store cannot do it now: the next round will
        return removed

    async def _expire(self, group: Any) -> int:
        services = self._services
        now = services.clock.time()
        oldest = now - self._settings.article_expire_seconds if self._settings.article_expire_seconds else None
        messages = list(group.messages)
        removed = 0
        for start in range(0, len(messages), ARTICLES_PER_STEP):
            doomed = []
            for message in messages[start : start + ARTICLES_PER_STEP]:
                if message.expunged:
                    continue
                expires = await services.conversion.derive(message, EXPIRES_KEY, expires_of)
                if expires <= now if expires is not None else oldest is not None and message.save_date <= oldest:
                    doomed.append(message)
            if doomed:
                removed += len(await services.store.expunge(group, doomed))
                for message in doomed:
                    name = message.content.message_id
                    if name and not services.store.find_message_id(name):
                        history_of(services).remember(name)
            await asyncio.sleep(0)
        if removed:
            services.events.publish(ArticlesExpired(group.name, removed))
        return removed
