"""What was said in each session, kept in bounded rings: for reports, timeouts, the page and replays."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from itertools import groupby
from typing import Any

from protocols.actor import Actor
from protocols.masking import Masker

_INNER_LINE = re.compile(r"S: \d{3}-")
INNER_LINES_SHOWN = 2
"""Of an answer of many lines (RFC 5321 section 4.2.1), the beginning is shown in reports."""
SESSIONS_MAX = 1000
"""Sessions remembered, the oldest are forgotten first."""
PIECE_OCTETS_MAX = 4096
"""Of one piece of dialogue, the beginning is kept."""
SESSION_OCTETS_MAX = 256 * 1024
"""Of one session, the end is kept."""


class Transcript:
    """One session. Fulfils `emulator.transport.Tap`."""

    def __init__(self, number: int, protocol: str, actor: Actor, peer: str) -> None:
        self.number = number
        self.protocol = protocol
        self.actor = actor
        self.peer = peer
        self.opened = time.time()
        """Seconds since the epoch."""
        self.ended: float | None = None
        self.pieces: deque[tuple[float, str, bytes, int]] = deque()
        """(seconds since the session began, `C` or `S`, octets, octets that were left out)."""
        self.muted = False
        """Whether what the peer sends is no dialogue: a TLS handshake that nobody answers."""
        self.octets_in = 0
        self.octets_out = 0
        self.on_sent: Callable[[Transcript], None] | None = None
        self.on_change: Callable[[Transcript], None] | None = None
        self.on_closed: Callable[[Transcript], None] | None = None
        self._kept = 0
        self._began = time.monotonic()

    def received(self, octets: bytes) -> None:
        """From the peer."""
        self.octets_in += len(octets)
        if not self.muted:
            self._add("C", octets)

    def sent(self, octets: bytes) -> None:
        """To the peer."""
        self.octets_out += len(octets)
        self._add("S", octets)
        if self.on_sent is not None:
            self.on_sent(self)

    def closed(self) -> None:
        """The connection is gone."""
        self.ended = time.time()
        if self.on_closed is not None:
            self.on_closed(self)
        if self.on_change is not None:
            self.on_change(self)

    def _add(self, side: str, octets: bytes) -> None:
        if self.pieces and self.pieces[-1][1] == side and len(self.pieces[-1][2]) < PIECE_OCTETS_MAX:
            began, _, before, left_out = self.pieces.pop()
            self._kept -= len(before)
            room = PIECE_OCTETS_MAX - len(before)
            piece = (began, side, before + octets[:room], left_out + max(0, len(octets) - room))
        else:
            left_out = max(0, len(octets) - PIECE_OCTETS_MAX)
            piece = (time.monotonic() - self._began, side, octets[:PIECE_OCTETS_MAX], left_out)
        self.pieces.append(piece)
        self._kept += len(piece[2])
        while self._kept > SESSION_OCTETS_MAX and len(self.pieces) > 1:
            self._kept -= len(self.pieces.popleft()[2])
        if self.on_change is not None:
            self.on_change(self)

    def lines(self, *, secrets: bool = False) -> list[str]:
        """`C: …` and `S: …` lines for people; passwords are shown as `***` unless `secrets`."""
        masker = Masker("" if secrets else self.protocol)
        found: list[str] = []
        for _, side, octets, left_out in self.pieces:
            lines = masker.lines(side, octets) + (masker.rest(side) if left_out else [])
            found.extend(f"{side}: {line.decode('utf-8', 'backslashreplace')}" for line in lines)
            if left_out:
                found.append(f"{side}: … {left_out} octets more")
        for side in "CS":
            found.extend(f"{side}: {line.decode('utf-8', 'backslashreplace')}" for line in masker.rest(side))
        return found

    def brief(self) -> list[str]:
        """`lines` for a report of a failure: long answers of many lines are cut."""
        found: list[str] = []
        for is_inner, run in groupby(self.lines(), lambda line: _INNER_LINE.match(line) is not None):
            lines = list(run)
            if is_inner and len(lines) > INNER_LINES_SHOWN + 1:
                lines[INNER_LINES_SHOWN:] = [f"S: … {len(lines) - INNER_LINES_SHOWN} lines more"]
            found += lines
        return found

    def dialogue(self) -> list[tuple[str, bytes]]:
        """(side, octets) without times: equal for two runs of one dialogue."""
        return [(side, octets) for _, side, octets, _ in self.pieces]

    def __str__(self) -> str:
        return "\n".join([f"{self.actor} from {self.peer}:", *(f"  {line}" for line in self.lines())])

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "number": self.number,
            "protocol": self.protocol,
            "actor": self.actor.name,
            "user": self.actor.user,
            "doing": self.actor.doing if self.ended is None else "",
            "waiting_for": self.actor.waiting_for.name if self.actor.waiting_for is not None else None,
            "holding": [section.name for section in self.actor.holding],
            "peer": self.peer,
            "opened": self.opened,
            "ended": self.ended,
            "octets_in": self.octets_in,
            "octets_out": self.octets_out,
        }


class Transcripts:
    """The last sessions of a server."""

    def __init__(self, sessions_max: int = SESSIONS_MAX) -> None:
        self._by_number: dict[int, Transcript] = {}
        self._sessions_max = sessions_max
        self._last = 0
        self.listeners: list[Callable[[Transcript], None]] = []
        """Called at every change of any transcript; must not block."""

    def begin(self, protocol: str, actor: Actor, peer: str) -> Transcript:
        """A transcript for a new session."""
        self._last += 1
        transcript = Transcript(self._last, protocol, actor, peer)
        self._by_number[self._last] = transcript
        if len(self._by_number) > self._sessions_max:
            del self._by_number[next(iter(self._by_number))]
        transcript.on_change = self._changed
        return transcript

    def _changed(self, transcript: Transcript) -> None:
        for listener in self.listeners:
            listener(transcript)

    @property
    def last_number(self) -> int:
        """The number of the newest session; 0: there was none."""
        return self._last

    def get(self, number: int) -> Transcript | None:
        """The session with that number, if it is still remembered."""
        return self._by_number.get(number)

    def since(self, number: int) -> list[Transcript]:
        """Sessions that began after that one, oldest first."""
        return [transcript for transcript in self._by_number.values() if transcript.number > number]

    async def all_ended(self) -> None:
        """Wait until no session is open."""
        something_ended = asyncio.Event()

        def look(transcript: Transcript) -> None:
            if transcript.ended is not None:
                something_ended.set()

        self.listeners.append(look)
        try:
            while self.open():
                something_ended.clear()
                await something_ended.wait()
        finally:
            self.listeners.remove(look)

    def open(self) -> list[Transcript]:
        """Sessions that have not ended."""
        return [transcript for transcript in self._by_number.values() if transcript.ended is None]
