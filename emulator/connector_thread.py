"""A thread for the methods of a connector: what blocks there, blocks nothing else.

A connector is somebody else's code in our process (in Exchange it was a program of its own, KB Q234065). Whatever it
does, sleeping in a coroutine included, the loop of the server goes on.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any


class Silent(Exception):
    """The thread is still busy with what it was asked before, or did not answer in time."""


class ConnectorThread:
    """Runs one job after another: functions, and coroutines on a loop of its own. It is started with the first."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._coroutine: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any], Future[Any]] | None = None
        """What is awaited there now, and for whom."""
        self._unwanted: Future[Any] | None = None
        """Whose caller was cancelled before anything was awaited."""
        self._unanswered: Future[Any] | None = None

    async def run(self, call: Callable[[], Any]) -> Any:
        """What `call` gives (awaited there, if it is awaitable); raises what it raises, SystemExit as RuntimeError.

        Where the caller is cancelled, a coroutine is cancelled too. What sleeps in a function sleeps on, alone.
        """
        future = self._submit(call)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._cancel(future)
            raise

    def ask(self, call: Callable[[], Any], seconds_max: float) -> Any:
        """As `run` for a function, while the caller's thread waits so long. Raises Silent.

        As long as a question has not been answered, the next ones raise at once.
        """
        if self._unanswered is not None and not self._unanswered.done():
            raise Silent("still busy with what it was asked before")
        self._unanswered = future = self._submit(call)
        try:
            return future.result(seconds_max)
        except TimeoutError:
            if not future.done():
                raise Silent(f"no answer in {seconds_max:g} s") from None
            raise

    def close(self) -> None:
        """The thread ends behind the jobs that it has."""
        self._closed = True
        if self._thread is not None:
            self._jobs.put(None)

    def _submit(self, call: Callable[[], Any]) -> Future[Any]:
        if self._closed:
            raise Silent("logged off")
        future: Future[Any] = Future()
        self._jobs.put((call, future))
        if self._thread is None:
            # A daemon: one that never comes back must not keep the process alive.
            self._thread = threading.Thread(target=self._work, name=f"mailjam-gateway-{self._name}", daemon=True)
            self._thread.start()
        return future

    def _cancel(self, future: Future[Any]) -> None:
        with self._lock:
            if self._coroutine is not None and self._coroutine[2] is future:
                loop, task, _ = self._coroutine
                loop.call_soon_threadsafe(task.cancel)
            else:
                self._unwanted = future

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            while (job := self._jobs.get()) is not None:
                call, future = job
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    result = call()
                    if inspect.isawaitable(result):
                        result = runner.run(self._await(result, future))
                except Exception as error:
                    _settle(future, error=error)
                except BaseException as error:  # SystemExit would end the thread, asyncio's cancellation says nothing
                    _settle(future, error=RuntimeError(str(error) or type(error).__name__))
                else:
                    _settle(future, result)

    async def _await(self, awaitable: Any, future: Future[Any]) -> Any:
        task = asyncio.ensure_future(awaitable)
        with self._lock:
            self._coroutine = (asyncio.get_running_loop(), task, future)
            if self._unwanted is future:
                task.cancel()
        try:
            return await task
        finally:
            with self._lock:
                self._coroutine = None


def _settle(future: Future[Any], result: Any = None, error: BaseException | None = None) -> None:
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
