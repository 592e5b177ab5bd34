"""One HTTP peer: uvicorn's, with a place among the server's connections and a deadline for its request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from emulator.admission import Admission


class Peer(H11Protocol):
    """Dropped when the head of a request is not whole in time: uvicorn itself waits for ever."""

    admission: Admission
    request_seconds_max: float

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._deadline: asyncio.TimerHandle | None = None
        self._address = ""

    @classmethod
    def of(cls, admission: Admission, request_seconds_max: float) -> type[Peer]:
        """The class for a server, as uvicorn wants one."""
        return type("Peer", (cls,), {"admission": admission, "request_seconds_max": request_seconds_max})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._address = self.client[0] if self.client else "local"
        if self.admission.arrived(self._address) is not None:
            transport.abort()
            return
        self._wait_for_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            if self._deadline is None:
                self._wait_for_request()
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.admission.left(self._address)
        super().connection_lost(exc)

    def _wait_for_request(self) -> None:
        self._deadline = self.loop.call_later(self.request_seconds_max, self.transport.abort)
