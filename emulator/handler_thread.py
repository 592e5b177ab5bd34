"""A thread with an event loop of its own for what handlers of aiosmtpd do with a message.

aiosmtpd's Controller runs its server in a thread, so handlers may block there: its own `Proxy` talks smtplib inside an
`async def`. In mailjam's loop that would hold up every protocol. Here it holds up only the messages behind it, as it
does there; hooks are still run one at a time between their awaits.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

CLOSE_SECONDS_MAX = 5.0
"""A hook that blocks for longer is left to the end of the process."""


class HandlerThread:
    """Started by the first message."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the hook returns there, awaited if it is a coroutine. Raises what it raises."""

        async def call() -> Any:
            status = function(*arguments)
            return await status if inspect.isawaitable(status) else status

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), self._started()))

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._serve, args=(self._loop,), name="mailjam-handler", daemon=True)
            self._thread.start()
        return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.get_loop().run_forever()

    async def close(self) -> None:
        """End it; hooks that wait are cancelled."""
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            await asyncio.to_thread(thread.join, CLOSE_SECONDS_MAX)
