"""A thread with an event loop of its own for other people's code: what blocks there, blocks nothing else.

Two kinds run there. Connectors of gateways (in Exchange each was a program of its own, KB Q234065): whatever one does,
sleeping in a coroutine included, the loop of the server goes on. And what a handler of aiosmtpd does with a message:
aiosmtpd's Controller runs its server in a thread, so handlers may block, as its own `Proxy` does, which talks smtplib
inside an `async def`; hooks are still run one at a time between their awaits.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

CLOSE_SECONDS_MAX = 5.0
"""What blocks for longer is left to the end of the process."""


class Silent(Exception):
    """The thread takes no more, is still busy with what it was asked before, or did not answer in time."""


class LoopThread:
    """Runs functions, and coroutines to their end. It is started with the first."""

    def __init__(self, name: str) -> None:
        """`name`: of the thread."""
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._finished = False
        self._unanswered: Future[Any] | None = None

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What it gives there (awaited, if it is awaitable). Raises what it raises, SystemExit as RuntimeError; Silent.

        Where the caller is cancelled, a coroutine is cancelled too. What sleeps in a function sleeps on, alone.
        """
        return await asyncio.wrap_future(self._submit(function, *arguments))

    def ask(self, function: Callable[[], Any], seconds_max: float) -> Any:
        """As `run`, while the caller's thread waits so long. Raises Silent.

        As long as a question has not been answered, the next ones raise at once.
        """
        if self._unanswered is not None and not self._unanswered.done():
            raise Silent("still busy with what it was asked before")
        self._unanswered = future = self._submit(function)
        try:
            return future.result(seconds_max)
        except TimeoutError:
            if not future.done():
                raise Silent(f"no answer in {seconds_max:g} s") from None
            raise

    def finish(self) -> None:
        """Take no more; the thread ends behind what it has."""
        self._finished = True
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(_stop_behind_others(), self._loop)

    async def close(self) -> None:
        """End it; coroutines that wait are cancelled."""
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            await asyncio.to_thread(thread.join, CLOSE_SECONDS_MAX)

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if self._finished:
            raise Silent("logged off")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A daemon: what never comes back must not keep the process alive.
            self._thread = threading.Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(_call(function, *arguments), self._loop)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()


async def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        result = function(*arguments)
        return await result if inspect.isawaitable(result) else result
    except (SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # by the caller
        # The first two would end the thread; a cancellation that nobody asked for would end the caller.
        raise RuntimeError(str(error) or type(error).__name__) from error


async def _stop_behind_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others)
    asyncio.get_running_loop().stop()
