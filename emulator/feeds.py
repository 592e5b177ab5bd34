"""The Internet News Service's newsfeeds: articles pushed to and pulled from other news servers.

A push feed offers what came into the newsgroups since it was last successful, by streaming (RFC 4644) where the peer
permits it, else by IHAVE. A pull feed asks for new articles by NEWNEWS, as Exchange did (KB Q268785). How far a feed
has got is kept in the store (numbers for each newsgroup, or the peer's own time), so that a restart loses nothing;
what was offered twice is refused by the peer's history.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from protocols.actor import Actor
from protocols.mime.headers import HeaderBlock
from protocols.nntp.history import is_known
from protocols.nntp.streaming import Verdict, take
from protocols.nntp.syntax import is_message_id
from protocols.ports import NoSuchMessage, PortError, Services
from protocols.wildmat import wildmat

from .events import Bus
from .news_peer import NewsPeer, PeerError
from .scheduling import AsyncioScheduler

if TYPE_CHECKING:
    from .config import Newsfeed, Settings
    from .store import Store

STREAM_ARTICLES = 20
"""Articles offered by CHECK before the answers are read."""
OVERLAP_SECONDS = 60
"""A pull feed asks again for what came in so long before its last round: the peer's clock may have been changed."""
SCOPE = "server"
"""Where the state of feeds is annotated in the store."""


@dataclass(frozen=True, slots=True)
class NewsfeedRound:
    """Event: a newsfeed has done what there was to do, or failed (`error`) and will try again."""

    feed: str
    offered: int
    transferred: int
    refused: int
    error: str = ""


class _Count:
    __slots__ = ("offered", "refused", "transferred")

    def __init__(self) -> None:
        self.offered = self.transferred = self.refused = 0


class FeedWorker:
    """One newsfeed: its rounds, and when the next one is."""

    def __init__(
        self,
        feed: Newsfeed,
        settings: Settings,
        services: Services,
        store: Store,
        bus: Bus,
        *,
        context: ssl.SSLContext | None,
    ) -> None:
        self.feed = feed
        self.actor = Actor("newsfeed", doing=feed.name)
        self._settings = settings
        self._services = services
        self._store = store
        self._bus = bus
        self._context = context
        self._wanted = wildmat(feed.groups)
        self._wake = asyncio.Event()
        self._closing = False
        self._peer: NewsPeer | None = None
        self._watched: set[int] = set()
        self.rounds = 0

    # --- when ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Do rounds until `close`: at the feed's interval, and at once when something came in for a push feed."""
        pause = self._settings.newsfeed_retry_seconds_min
        while not self._closing:
            self._watch_groups()
            self._wake.clear()
            result = await self.round()
            self.rounds += 1
            self._bus.publish(result)
            if result.error:
                wait, pause = pause, min(2 * pause, self._settings.newsfeed_retry_seconds_max)
            else:
                wait, pause = self.feed.interval_seconds, self._settings.newsfeed_retry_seconds_min
            if result.error:
                self._wake.clear()  # a failing peer is not asked more often because articles come in
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass
        self._unwatch_groups()

    def close(self) -> None:
        """End the round at hand where it waits for the peer; one that waits for a section ends after it, or never."""
        self._closing = True
        self._wake.set()
        if self._peer is not None:
            self._peer.abort()

    def _groups(self) -> list[Any]:
        return [group for name, group in self._services.store.newsgroups.items() if self._wanted.matches(name)]

    def _watch_groups(self) -> None:
        if self.feed.pulls:
            return
        for group in self._groups():
            if group.folder_id not in self._watched:
                self._watched.add(group.folder_id)
                group.listen(self)

    def _unwatch_groups(self) -> None:
        for group in self._groups():
            group.unlisten(self)

    # protocols.ports.FolderListener
    def appended(self, message: Any) -> None:
        """There is something to push."""
        self._wake.set()

    def flags_changed(self, message: Any) -> None:
        """Of no interest."""

    def expunged(self, messages: Sequence[Any]) -> None:
        """Of no interest."""

    def folder_gone(self, folder: Any) -> None:
        """The newsgroup was removed."""
        self._watched.discard(folder.folder_id)

    # --- a round ------------------------------------------------------------------------------------------------------

    async def round(self) -> NewsfeedRound:
        """Push or pull all there is now. Never raises but for cancellation."""
        count = _Count()
        error = ""
        try:
            await (self._pull(count) if self.feed.pulls else self._push(count))
        except (PeerError, PortError) as problem:
            error = str(problem)
        return NewsfeedRound(self.feed.name, count.offered, count.transferred, count.refused, error)

    async def _connect(self) -> NewsPeer:
        self._peer = await NewsPeer.connect(
            self.feed,
            context=self._context,
            seconds_max=self._settings.newsfeed_seconds_max,
            block_bytes_max=self._services.settings.limits.message_bytes_max,
        )
        return self._peer

    def _state(self) -> dict[str, Any]:
        kept = self._store.annotations.get((SCOPE, f"newsfeed/{self.feed.name}"))
        state = json.loads(kept) if kept else {}
        return state if isinstance(state, dict) else {}

    async def _keep_state(self, state: dict[str, Any]) -> None:
        await self._store.annotate(SCOPE, f"newsfeed/{self.feed.name}", json.dumps(state).encode())

    # --- push ---------------------------------------------------------------------------------------------------------

    async def _push(self, count: _Count) -> None:
        state = self._state()
        marks: dict[str, int] = {key: value for key, value in state.get("marks", {}).items() if isinstance(value, int)}
        todo: list[Any] = []
        reached = dict(marks)
        seen: set[bytes] = set()
        for group in self._groups():
            key = f"{group.name}:{group.uid_validity}"
            new = group.slice_by_uid(marks.get(key, 0) + 1, group.uid_next)
            for message in new:
                name = message.content.message_id
                if is_message_id(name) and name not in seen:
                    seen.add(name)
                    todo.append(message)
            if new:
                reached[key] = new[-1].uid
        if not todo:
            if reached != marks:
                await self._keep_state({"marks": reached})
            return
        async with await self._connect() as peer:
            code, _ = await peer.ask(b"MODE STREAM")
            push = self._push_stream if code == 203 else self._push_one_by_one
            deferred = await push(peer, todo, count)
        for message in deferred:
            key = f"{message.folder.name}:{message.folder.uid_validity}"
            reached[key] = min(reached[key], message.uid - 1)
        await self._keep_state({"marks": reached})
        if deferred:
            raise PeerError(f"{len(deferred)} articles are to come again later")

    async def _octets(self, message: Any) -> bytes | None:
        """The article, or None when it has gone or has been at the peer already."""
        try:
            octets = await self._services.conversion.octets(message)
        except NoSuchMessage:
            return None
        header = HeaderBlock(octets, 0, max(octets.find(b"\r\n\r\n"), 0))
        path = (header.get(b"path") or b"").lower().split(b"!")
        return None if self.feed.peer_identity.lower().encode() in path else octets

    async def _push_one_by_one(self, peer: NewsPeer, todo: Sequence[Any], count: _Count) -> list[Any]:
        deferred = []
        for message in todo:
            octets = await self._octets(message)
            if octets is None:
                continue
            count.offered += 1
            code, text = await peer.ask(b"IHAVE " + message.content.message_id)
            if code == 335:
                await peer.article(octets)
                code, text = await peer.reply()
            if code == 235:
                count.transferred += 1
            elif code in (435, 437):
                count.refused += 1
            elif code == 436:
                deferred.append(message)
            else:
                raise PeerError(f"IHAVE: {code} {text}")
        return deferred

    async def _push_stream(self, peer: NewsPeer, todo: Sequence[Any], count: _Count) -> list[Any]:
        deferred = []
        for start in range(0, len(todo), STREAM_ARTICLES):
            batch = [(m, octets) for m in todo[start : start + STREAM_ARTICLES] if (octets := await self._octets(m))]
            count.offered += len(batch)
            await peer.send([b"CHECK " + message.content.message_id + b"\r\n" for message, _ in batch])
            wanted = []
            for message, octets in batch:
                code, text = await peer.reply()
                if code == 238:
                    wanted.append((message, octets))
                elif code == 438:
                    count.refused += 1
                elif code == 431:
                    deferred.append(message)
                else:
                    raise PeerError(f"CHECK: {code} {text}")
            for message, octets in wanted:
                await peer.send((b"TAKETHIS " + message.content.message_id + b"\r\n",))
                await peer.article(octets)
            for _ in wanted:
                code, text = await peer.reply()
                if code == 239:
                    count.transferred += 1
                elif code == 439:
                    count.refused += 1
                else:
                    raise PeerError(f"TAKETHIS: {code} {text}")
        return deferred

    # --- pull ---------------------------------------------------------------------------------------------------------

    async def _pull(self, count: _Count) -> None:
        since = float(self._state().get("since", 0.0))
        async with await self._connect() as peer:
            started = await self._peer_time(peer)
            moment = datetime.fromtimestamp(max(since - OVERLAP_SECONDS, 0.0), UTC).strftime("%Y%m%d %H%M%S GMT")
            await peer.expect(f"NEWNEWS {self.feed.groups} {moment}".encode(), 230)
            names = [name for name in (await peer.block()).split(b"\r\n") if is_message_id(name)]
            later = 0
            for name in names:
                if is_known(self._services, name):
                    continue
                count.offered += 1
                verdict = await self._pull_one(peer, name)
                count.transferred += verdict is Verdict.TAKEN
                count.refused += verdict is Verdict.REFUSED
                later += verdict is Verdict.LATER
        if later:
            raise PeerError(f"{later} articles could not be taken now")
        await self._keep_state({"since": started})

    async def _pull_one(self, peer: NewsPeer, name: bytes) -> Verdict:
        code, text = await peer.ask(b"ARTICLE " + name)
        if code in (423, 430):
            return Verdict.REFUSED  # gone since it was listed
        if code != 220:
            raise PeerError(f"ARTICLE: {code} {text}")
        octets = await peer.block()
        verdict, _ = await take(self._services, f"{self.feed.host}:{self.feed.port}", octets, name)
        return verdict

    async def _peer_time(self, peer: NewsPeer) -> float:
        """The peer's own time, by which NEWNEWS goes."""
        code, text = await peer.ask(b"DATE")
        if code == 111:
            try:
                return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
            except ValueError:
                pass
        return self._services.clock.time()


class Newsfeeds:
    """All newsfeeds of a server."""

    def __init__(
        self,
        settings: Settings,
        scheduler: AsyncioScheduler,
        services: Services,
        store: Store,
        bus: Bus,
        *,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`context`: a client's TLS context for feeds with TLS; None: what OpenSSL trusts."""
        self._scheduler = scheduler
        self.workers = [
            FeedWorker(feed, settings, services, store, bus, context=context) for feed in settings.newsfeeds
        ]
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin the rounds."""
        self.tasks = [self._scheduler.spawn(worker.actor, worker.run()) for worker in self.workers]

    async def stop(self) -> None:
        """Let each feed finish its round."""
        for worker in self.workers:
            worker.close()
        if self.tasks:
            await asyncio.wait(self.tasks)
        self.tasks = []
