"""What a session's task waits on: a future that goes on with the task inside the event that ended the wait.

asyncio's own Future has the loop call the task in its next round: another handle, and another look at the sockets, for
each command. A task may wait on anything that has a future's methods (`asyncio.isfuture`), so this one calls the task
at once. Where a task is running already (one session pokes another) the loop does it, for tasks do not nest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any


class Wakeup:
    """One wait of one task."""

    __slots__ = ("_asyncio_future_blocking", "_callback", "_context", "_done", "_error", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._callback: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._done = False
        self._error: BaseException | None = None

    def wake(self) -> None:
        """End the wait. No harm where it has ended."""
        if not self._done:
            self._end(None)

    def fail(self, error: BaseException) -> None:
        """End the wait with an error. No harm where it has ended."""
        if not self._done:
            self._end(error)

    def __await__(self) -> Generator[Any, None, None]:
        if not self._done:
            self._asyncio_future_blocking = True
            yield self
        self.result()

    def _end(self, error: BaseException | None) -> None:
        self._done, self._error = True, error
        if self._callback is None:
            return
        assert self._context is not None
        if asyncio.current_task(self._loop) is None:
            self._context.run(self._callback, self)
        else:
            self._loop.call_soon(self._callback, self, context=self._context)

    # --- what asyncio asks of a future --------------------------------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Whose task may wait."""
        return self._loop

    def done(self) -> bool:
        """Whether the wait has ended."""
        return self._done

    def result(self) -> None:
        """Raises the error that ended it."""
        if self._error is not None:
            raise self._error

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context) -> None:
        """The task is to be called by this, once: by asyncio, as it begins to wait."""
        self._callback, self._context = callback, context

    def cancel(self, msg: object = None) -> bool:
        """The task was cancelled: it learns of that in the loop's next round, as always."""
        if self._done:
            return False
        self._done, self._error = True, asyncio.CancelledError(*([] if msg is None else [msg]))
        if self._callback is not None:
            self._loop.call_soon(self._callback, self, context=self._context)
        return True
