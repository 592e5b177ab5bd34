"""The writer thread: one connection, one transaction and one sync for all commits that came while the last one synced.

Measured beside aiosqlite (benchmarks/durable_writer.py): with it every statement is a trip to its thread and every
commit a sync of its own; here 64 concurrent appends share a sync.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.changes import Change, Done, Settle

from . import schema
from .rows import RowWriter

if TYPE_CHECKING:
    from emulator.content import Content
    from emulator.properties import PropertyMessage


@dataclass(slots=True, eq=False)
class Job:
    """One commit on its way."""

    records: tuple[Change, ...]
    new: Mapping[int, tuple[Content, PropertyMessage]]
    settle: Settle
    done: Done
    """Called after `settle`."""
    body_bytes: int = field(default=0)
    settled: bool = field(default=False)


Report = Callable[[int, Exception | None], None]
"""Called on the writer thread: so many jobs of the batch were kept, from its beginning; with an exception, no more."""


class Writer:
    """Takes a batch of jobs, does them in order, and reports how many were kept; then it may be given the next."""

    def __init__(self, path: Path, report: Report) -> None:
        self._path = path
        self._report = report
        self._batches: queue.SimpleQueue[Sequence[Job] | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._rows: RowWriter | None = None
        self.transactions = 0
        """How many commits of SQLite there were: with the number of jobs, how well they share."""
        self._thread = threading.Thread(target=self._work, name="mailjam-store-writer", daemon=True)

    def start(self, connection: sqlite3.Connection) -> None:
        """Begin, with a connection that has been migrated."""
        self._use(connection)
        self._thread.start()

    def put(self, batch: Sequence[Job]) -> None:
        """Hand over; never blocks. Whoever does waits for the report before the next."""
        self._batches.put(batch)

    def stop(self) -> None:
        """Do what was handed over, then end; blocks until then."""
        self._batches.put(None)
        self._thread.join()

    def _use(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows = RowWriter(connection)

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._do(batch)
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()

    def _do(self, jobs: Sequence[Job]) -> None:
        try:
            self._transaction(jobs)
        except Exception as error:
            if len(jobs) > 1:
                self._report(*self._do_one_by_one(jobs))
            else:
                self._report(0, error)
        else:
            self._report(len(jobs), None)

    def _do_one_by_one(self, jobs: Sequence[Job]) -> tuple[int, Exception | None]:
        """One of them cannot be kept: keep those before it."""
        for count, job in enumerate(jobs):
            try:
                self._transaction([job])
            except Exception as error:
                return count, error
        return len(jobs), None

    def _transaction(self, jobs: Sequence[Job]) -> None:
        connection, rows = self._connection, self._rows
        assert connection is not None
        assert rows is not None
        try:
            for job in jobs:
                rows.apply(job.records, job.new)
            rows.commit()
        except BaseException as error:
            rows.forget()
            self._roll_back(connection, error)
            raise
        self.transactions += 1

    def _roll_back(self, connection: sqlite3.Connection, error: BaseException) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            error = second
        name = getattr(error, "sqlite_errorname", "")
        if isinstance(error, sqlite3.Error) and not name.startswith(("SQLITE_FULL", "SQLITE_CONSTRAINT")):
            self._begin_anew(connection)

    def _begin_anew(self, connection: sqlite3.Connection) -> None:
        """Go on with another connection after a failure of the disk: what this one believes of the file may be wrong.

        The new one is opened first. Without any, the next would read the log from the disk, and there is what could
        not be synced, as if it had been committed. A small commit writes over that, lest it come back after a crash.
        """
        with contextlib.suppress(sqlite3.Error):
            self._use(schema.connect(self._path))
            connection.close()
        with contextlib.suppress(sqlite3.Error):
            assert self._connection is not None
            self._connection.execute("UPDATE meta SET value = value")
