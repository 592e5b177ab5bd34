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
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.changes import Appended, Change, Loaded, Settle
from emulator.config import SettingsError
from protocols.ports import NoSuchMessage, Unavailable

from . import bodies, schema
from .directory_lock import DirectoryLock
from .loading import load
from .names import FILE_NAME, sync_directory
from .writer import Job, Writer

if TYPE_CHECKING:
    from emulator.content import Content
    from emulator.properties import PropertyMessage

READERS = 2
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
        self._in_flight: deque[Job] = deque()
        self._epoch = 0
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
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # mail is for its owner only
            connection = schema.connect(self.path)
            self.migrated = schema.migrate(connection, self.path)
            sync_directory(self._directory)
            self._last_row = connection.execute("SELECT coalesce(max(content_id), 0) FROM contents").fetchone()[0]
            use(load(connection))
        except BaseException as error:
            if connection is not None:
                connection.close()
            self._lock.release()
            if isinstance(error, sqlite3.Error | OSError | LookupError | TypeError):
                raise SettingsError(f"{self.path} cannot be opened: {_say(error)}") from error
            raise
        self._writer.start(connection)

    # --- committing ---------------------------------------------------------------------------------------------------

    async def commit(self, changes: Sequence[Change], settle: Settle) -> None:
        """See `changes.Backend`."""
        if self._closed is not None:
            settle(False)
            raise Unavailable("the store is closed")
        job = self._hand_over(changes, settle)
        try:
            await job.waiter
        except asyncio.CancelledError:
            # It cannot be recalled: whoever cancelled waits for the disk, and what is locked stays locked until then.
            while not job.settled:
                job.waiter = asyncio.get_running_loop().create_future()
                with contextlib.suppress(asyncio.CancelledError, Unavailable):
                    await job.waiter
            raise

    def _hand_over(self, changes: Sequence[Change], settle: Settle) -> Job:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
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
        job = Job(tuple(changes), new, settle, self._loop.create_future(), self._epoch, octets)
        self._in_flight.append(job)
        self.commits += 1
        self._writer.put(job)
        return job

    def _report(self, kept: list[Job], error: Exception | None) -> None:
        """On the writer thread."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, kept, error)

    def _settle(self, kept: list[Job], error: Exception | None) -> None:
        for job in kept:
            first = self._in_flight.popleft()
            assert first is job
            for content, _ in job.new.values():
                self._hold(content)
            self._finish(job, True)
        if error is None:
            return
        # All that was handed over so far may build on what failed.
        self._epoch += 1
        failed, self._in_flight = self._in_flight, deque()
        text = _say(error)
        for job in failed:
            for content, _ in job.new.values():
                content.row = 0
        for job in failed:
            self._finish(job, False)
            if not job.waiter.done():
                job.waiter.set_exception(Unavailable(text))

    def _finish(self, job: Job, kept: bool) -> None:
        assert self._loop is not None
        try:
            job.settle(kept)
        except Exception as error:  # a listener's fault must not keep others from being told
            self._loop.call_exception_handler({"message": "a change could not be applied", "exception": error})
        job.settled = True
        if kept and not job.waiter.done():
            job.waiter.set_result(None)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def read(self, content: Content) -> PropertyMessage:
        """See `changes.Backend`."""
        message = content.message
        if message is None:
            if self._closed is not None:
                raise Unavailable("the store is closed")
            loop = asyncio.get_running_loop()
            message = content.message = await loop.run_in_executor(self._readers, self._load, content)
        self._hold(content)
        return message

    def _load(self, content: Content) -> PropertyMessage:
        """On a reader thread. Raises Unavailable, NoSuchMessage."""
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = schema.connect(self.path, read_only=True)
                self._connections.append(connection)
            query = "SELECT form, checksum, body FROM bodies WHERE content_id = ?"
            row = connection.execute(query, (content.row,)).fetchone()
        except sqlite3.Error as error:
            self._local.connection = None
            raise Unavailable(_say(error)) from error
        if row is None:
            raise NoSuchMessage("the message has been expunged")
        return bodies.unpack(self._codec, content, *row)

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
            await loop.run_in_executor(None, self._stop)
        finally:
            self._closed.set_result(None)

    def _stop(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        for connection in self._connections:
            connection.close()
        self._writer.stop()
        self._lock.release()


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
