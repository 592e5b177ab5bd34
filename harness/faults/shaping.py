"""What happens to the octets of a reply on their way out: slowed, cut, changed, doubled, lost."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from random import Random
from typing import Any

from protocols.ports import Clock

BACKLOG_OCTETS_MAX = 1 << 20
"""Octets held back before the session has to wait."""
STEPS_PER_SECOND = 20
_GO_ON = re.compile(rb"(?:(?:334|335|340|354|383) [^\r\n]*|\+(?: [^\r\n]*)?)\r\n")
"""Replies that ask for the rest of a command: DATA's 354, POST's 340, a literal's `+`. They are not its end."""
_LITERAL = re.compile(rb"\{(\d{1,10})\}\r\n")

Transform = Callable[[bytes], bytes]


class Shaper:
    """A filter for the replies of one command (`emulator.transport.Filter`); it takes itself away when it is done."""

    def __init__(self, connection: Any, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self.transforms: list[Transform] = []
        self.step_octets = 0
        """So many octets at once; 0: all."""
        self.step_seconds = 0.0
        """Between steps."""
        self.cut = False
        """Everything from now on is dropped."""
        self._queue: deque[memoryview] = deque()
        self._octets = 0
        self._pumping = False
        self._paused = False
        self._finished = False
        self._close = False
        self._when_idle: list[Callable[[], None]] = []

    @property
    def busy(self) -> bool:
        """Whether octets wait here."""
        return bool(self._queue)

    def write(self, octets: bytes) -> None:
        """Send, in the shape that was asked for."""
        if self.transforms and _GO_ON.fullmatch(octets) is not None:
            self._connection.emit(octets)
            return
        for transform in self.transforms:
            octets = transform(octets)
        if not octets or (self.cut and not self._queue and not self.transforms):
            return
        if not self.step_octets:
            self._connection.emit(octets)
            return
        self._queue.append(memoryview(octets))
        self._octets += len(octets)
        if self._octets > BACKLOG_OCTETS_MAX and not self._paused:
            self._paused = True
            self._connection.pause_writing()
        if not self._pumping:
            self._pumping = True
            self._pump()

    def _pump(self) -> None:
        room = self.step_octets
        pieces = []
        while room and self._queue:
            piece = self._queue.popleft()
            pieces.append(piece[:room])
            if len(piece) > room:
                self._queue.appendleft(piece[room:])
            room -= len(pieces[-1])
        octets = b"".join(pieces)
        self._octets -= len(octets)
        self._connection.emit(octets)
        if self._paused and self._octets < BACKLOG_OCTETS_MAX // 2:
            self._paused = False
            self._connection.resume_writing()
        if self._queue:
            self._clock.call_later(self.step_seconds, self._pump)
            return
        self._pumping = False
        for callback in self._when_idle:
            callback()
        self._when_idle.clear()
        self._leave()

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call once nothing waits here any more: now, if so."""
        if self.busy:
            self._when_idle.append(callback)
        else:
            callback()

    def finish(self) -> None:
        """The command's replies are all here: step aside once they are out."""
        self._finished = True
        self._leave()

    def _leave(self) -> None:
        if self.busy:
            return
        if self._finished and self._connection.filter is self:
            self._connection.filter = None
        if self._close:
            self._close = False
            self._connection.close()

    def close_when_idle(self) -> None:
        """Close the connection after what waits here."""
        self._finished = self._close = True
        self._leave()


class Truncation:
    """Lets `octets` of the first literal or block pass (without one: of the reply), and nothing after them."""

    def __init__(self, octets: int, cut: Callable[[], None]) -> None:
        self._left = octets
        self._begun = False
        self._done = False
        self._cut = cut

    def __call__(self, octets: bytes) -> bytes:
        if self._done:
            return b""
        head = 0
        if not self._begun:
            self._begun = True
            head = body_start(octets)
        passed = octets[: head + self._left]
        self._left -= len(passed) - head
        if len(passed) < len(octets):
            self._done = True
            self._cut()
        return passed


def body_start(reply: bytes) -> int:
    """Where the first literal begins, else where the block below a status line does, else 0."""
    literal = _LITERAL.search(reply)
    if literal is not None:
        return literal.end()
    line = reply.find(b"\r\n")
    return line + 2 if 0 <= line < len(reply) - 2 else 0


class Corruption:
    """Changes `count` octets of the literal, the block or the reply; line ends stay, so that the framing holds."""

    def __init__(self, count: int, seed: int) -> None:
        self._left = count
        self._random = Random(seed)  # noqa: S311  # reproducible, not secret

    def __call__(self, octets: bytes) -> bytes:
        if not self._left:
            return octets
        start = body_start(octets)
        literal = _LITERAL.search(octets)
        end = start + int(literal[1]) if literal is not None else len(octets)
        places = [index for index in range(start, min(end, len(octets))) if chr(octets[index]).isalnum()]
        changed = bytearray(octets)
        for index in self._random.sample(places, min(self._left, len(places))):
            changed[index] ^= 1
            if not chr(changed[index]).isalnum():
                changed[index] = ord("x") if octets[index] != ord("x") else ord("y")
            self._left -= 1
        return bytes(changed)


def duplicated(octets: bytes) -> bytes:
    """Twice."""
    return octets + octets


def without_untagged(pattern: str) -> Transform:
    """Drops untagged IMAP responses whose first line matches (without `* `); their literals go with them."""

    def drop(octets: bytes) -> bytes:
        kept = []
        for response in split_responses(octets):
            line = response.partition(b"\r\n")[0].decode("utf-8", "replace")
            if not (line.startswith("* ") and fnmatchcase(line[2:].upper(), pattern.upper() or "*")):
                kept.append(response)
        return b"".join(kept)

    return drop


def split_responses(octets: bytes) -> list[bytes]:
    """IMAP responses with their literals, whole."""
    found, start, position = [], 0, 0
    while position < len(octets):
        end = octets.find(b"\r\n", position)
        if end < 0:
            break
        literal = re.search(rb"\{(\d{1,10})\}$", octets[position:end])
        position = end + 2
        if literal is not None:
            position += int(literal[1])
            continue
        found.append(octets[start:position])
        start = position
    if start < len(octets):
        found.append(octets[start:])
    return found
