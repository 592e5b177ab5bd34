"""The backend that keeps: SQLite behind a writer thread, bodies read by reader threads and held for a while."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from emulator.changes import Appended, Change, Done, Loaded, Settle
from emulator.config import SettingsError
from emulator.spool import SPOOL_NAME, sync_folder
from protocols.ports import NoSuchMessage, Unavailable

from . import bodies, schema
from .directory_lock import DirectoryLock
from .loading import load, without_collecting
from .names import FILE_NAME
from .writer import Job, Writer

if TYPE_CHECKING:
    from emulator.content import Content
    from emulator.properties import PropertyMessage

READERS = 2
BATCH_COMMITS_MAX = 1024
BATCH_BODY_BYTES_MAX = 32 << 20
GATHER_SECONDS_MAX = 0.008
IDLE_TURN_SECONDS = 0.00005
"""A turn of the event loop that took no longer did nothing."""
_OVERHEAD_OCTETS = 4096
"""What a message in memory takes beside its octets, roughly: its properties and structure."""


class DurableBackend:
    """`changes.Backend` over a data directory. Open it with `open`, in the thread of the event loop or before it."""

    def __init__(self, directory: Path, *, cache_bytes_max: int, codec: bodies.Codec | None = None) -> None:
        self.path = directory / FILE_NAME
        self._directory = directory
        self._lock = DirectoryLock(directory)
        self._writer = Writer(self.path, self._report)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="mailjam-store-reader")
        self._codec = codec or bodies.default_codec()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[Job] = deque()
        """Handed over while the writer is busy with a batch."""
        self._batch: list[Job] = []
        """What the writer is busy with."""
        self._gathering = False
        self._gathering_since = self._turn_at = 0.0
        """When the first of the next batch came, and when the loop's last turn began; monotonic seconds."""
        self._idle: asyncio.Future[None] | None = None
        """Whoever closes waits for it: nothing is on its way any more."""
        self._last_row = 0
        self._closed: asyncio.Future[None] | None = None
        self._cache: OrderedDict[int, Content] = OrderedDict()
        self._cache_octets = 0
        self._cache_bytes_max = cache_bytes_max
        self.commits = 0
        self.migrated = (schema.VERSION, schema.VERSION)
        """Schema version found and made at `open`."""

    @property
    def transactions(self) -> int:
        """Syncs so far; `commits` divided by it says how many shared one."""
        return self._writer.transactions

    def open(self, use: Callable[[Loaded], None]) -> None:
        """Lock, migrate, read; `use` builds the index from what was read. Blocks.

        Raises SettingsError with one line that names the fix.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"--data {self._directory} cannot be made ({error.strerror}): choose another directory"
            raise SettingsError(text) from None
        self._lock.acquire()
        connection = None
        try:
            self._refuse_what_was_cut()
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # mail is for its owner only
            connection = schema.connect(self.path)
            self.migrated = schema.migrate(connection, self.path)
            sync_folder(self._directory)
            self._last_row = connection.execute("SELECT coalesce(max(content_id), 0) FROM contents").fetchone()[0]
            with without_collecting():
                use(load(connection))
        except BaseException as error:
            if connection is not None:
                connection.close()
            self._lock.release()
            if isinstance(error, sqlite3.Error | OSError | LookupError | TypeError):
                raise SettingsError(f"{self.path} cannot be opened: {_say(error)}") from error
            raise
        self._writer.start(connection)

    def _refuse_what_was_cut(self) -> None:
        """An empty file is a new store only where no store has been: a server makes its spool after it.

        Raises SettingsError.
        """
        spool = self._directory / SPOOL_NAME
        if self.path.exists() and self.path.stat().st_size == 0 and spool.exists():
            raise SettingsError(
                f"{self.path} has been cut to nothing: put back a copy of it, or remove it to begin with an empty store"
            )

    # --- committing ---------------------------------------------------------------------------------------------------

    async def commit(self, changes: Sequence[Change], settle: Settle) -> None:
        """See `changes.Backend`."""
        if self._closed is not None:
            settle(False)
            raise Unavailable("the store is closed")
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        job = self._queue(changes, settle, partial(_tell, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            # It cannot be recalled: whoever cancelled waits for the disk, and what is locked stays locked until then.
            while not job.settled:
                waiter = loop.create_future()
                job.done = partial(_tell, waiter)
                with contextlib.suppress(asyncio.CancelledError, Unavailable):
                    await waiter
            raise

    def hand_over(self, changes: Sequence[Change], settle: Settle, done: Done) -> None:
        """See `changes.Backend`."""
        if self._closed is not None:
            settle(False)
            done(Unavailable("the store is closed"))
        else:
            self._queue(changes, settle, done)

    def _queue(self, changes: Sequence[Change], settle: Settle, done: Done) -> Job:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        new = {}
        octets = 0
        for record in changes:
            if isinstance(record, Appended) and not record.content.row:
                content = record.content
                assert content.message is not None, "a content that is nowhere yet has its message"
                self._last_row += 1
                content.row = self._last_row
                new[content.row] = (content, content.message)
                octets += content.size
        job = Job(tuple(changes), new, settle, done, octets)
        self._waiting.append(job)
        self._gather()
        self.commits += 1
        return job

    def _gather(self) -> None:
        """Begin the next batch, when the writer has none: once the loop has nothing else to do, or after a while.

        As long as the loop is busy others will commit too. Few large batches cost it much less than many small ones:
        threads that hand each other single commits pass the interpreter's lock to and fro.
        """
        if not self._gathering and not self._batch and self._waiting:
            assert self._loop is not None
            self._gathering = True
            self._gathering_since = self._turn_at = monotonic()
            self._loop.call_soon(self._gather_more)

    def _gather_more(self) -> None:
        now = monotonic()
        if now - self._turn_at < IDLE_TURN_SECONDS or now - self._gathering_since > GATHER_SECONDS_MAX:
            self._gathering = False
            self._write_batch()
        else:
            assert self._loop is not None
            self._turn_at = now
            self._loop.call_soon(self._gather_more)

    def _write_batch(self) -> None:
        """Give the writer what waits, within bounds; it has one batch at a time."""
        waiting = self._waiting
        octets = 0
        while waiting and len(self._batch) < BATCH_COMMITS_MAX and octets < BATCH_BODY_BYTES_MAX:
            octets += waiting[0].body_bytes
            self._batch.append(waiting.popleft())
        if self._batch:
            self._writer.put(self._batch)

    def _report(self, kept: int, error: Exception | None) -> None:
        """On the writer thread."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, kept, error)

    def _settle(self, kept: int, error: Exception | None) -> None:
        batch, self._batch = self._batch, []
        failed = batch[kept:]
        if error is not None:
            # All that was handed over so far may build on what failed.
            failed.extend(self._waiting)
            self._waiting.clear()
        for job in batch[:kept]:
            for content, _ in job.new.values():
                self._hold(content)
            self._finish(job, None)
        for job in failed:
            for content, _ in job.new.values():
                content.row = 0
        for job in failed:
            assert error is not None
            self._finish(job, Unavailable(_say(error)))
        self._gather()
        if self._idle is not None and not self._idle.done() and not self._waiting and not self._batch:
            self._idle.set_result(None)

    def _finish(self, job: Job, error: Unavailable | None) -> None:
        assert self._loop is not None
        try:
            job.settle(error is None)
        except Exception as fault:  # a listener's fault must not keep others from being told
            self._loop.call_exception_handler({"message": "a change could not be applied", "exception": fault})
        job.settled = True
        try:
            job.done(error)
        except Exception as fault:
            self._loop.call_exception_handler({"message": "a commit could not be followed up", "exception": fault})

    # --- reading ------------------------------------------------------------------------------------------------------

    async def read(self, content: Content, ahead: Sequence[Content] = ()) -> PropertyMessage:
        """See `changes.Backend`."""
        message = content.message
        if message is None:
            if self._closed is not None:
                raise Unavailable("the store is closed")
            loop = asyncio.get_running_loop()
            if 2 * sum(other.size + _OVERHEAD_OCTETS for other in ahead) > self._cache_bytes_max:
                ahead = ()  # it would push out what was asked for
            message, *others = await loop.run_in_executor(self._readers, self._load, content, ahead)
            for other, loaded in zip(ahead, others, strict=True):
                if loaded is not None and other.message is None:
                    other.message = loaded
                    self._hold(other)
            if content.message is None:
                content.message = message
            message = content.message
            assert message is not None
        self._hold(content)
        return message

    def _load(self, content: Content, ahead: Sequence[Content]) -> list[PropertyMessage | None]:
        """On a reader thread: the content's message, and those of `ahead` that can be had.

        Raises Unavailable, NoSuchMessage.
        """
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = schema.connect(self.path, read_only=True)
                self._connections.append(connection)
            query = "SELECT form, checksum, body FROM bodies WHERE content_id = ?"
            rows = [connection.execute(query, (each.row,)).fetchone() for each in (content, *ahead)]
        except sqlite3.Error as error:
            self._local.connection = None
            raise Unavailable(_say(error)) from error
        if rows[0] is None:
            raise NoSuchMessage("the message has been expunged")
        loaded: list[PropertyMessage | None] = [bodies.unpack(self._codec, content, *rows[0])]
        for each, row in zip(ahead, rows[1:], strict=True):
            loaded.append(None)
            if row is not None:
                with contextlib.suppress(Unavailable):  # who asks for that one is told
                    loaded[-1] = bodies.unpack(self._codec, each, *row)
        return loaded

    def _hold(self, content: Content) -> None:
        """Keep the message of a content in memory until others push it out."""
        cache, row = self._cache, content.row
        if not row:
            return  # on its way to disk: it stays until it is there
        if row in cache:
            cache.move_to_end(row)
            return
        cache[row] = content
        self._cache_octets += content.size + _OVERHEAD_OCTETS
        while self._cache_octets > self._cache_bytes_max and cache:
            _, dropped = cache.popitem(last=False)
            dropped.message = None
            self._cache_octets -= dropped.size + _OVERHEAD_OCTETS

    # --- the end ------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """See `changes.Backend`."""
        if self._closed is not None:
            await asyncio.shield(self._closed)
            return
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        try:
            if self._waiting or self._batch:
                self._idle = loop.create_future()
                await self._idle
            await loop.run_in_executor(None, self._stop)
        finally:
            self._closed.set_result(None)

    def _stop(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        for connection in self._connections:
            connection.close()
        self._writer.stop()
        self._lock.release()


def _tell(waiter: asyncio.Future[None], error: Unavailable | None) -> None:
    if not waiter.done():
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


def _say(error: BaseException) -> str:
    """What went wrong, fit for a reply."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return "the disk is full"
    if name.startswith("SQLITE_IOERR"):
        return f"the disk failed ({name})"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return "the data directory cannot be written"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or "no such table" in str(error):
        return "the file is damaged: run mailjam check --repair"
    if isinstance(error, LookupError | TypeError):
        return "the file is damaged: run mailjam check --repair"
    if isinstance(error, OSError):
        return f"the disk failed ({error.strerror})"
    return f"the store failed ({type(error).__name__}: {error})"
