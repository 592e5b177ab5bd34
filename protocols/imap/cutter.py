"""The cutter of commands: a line and its literals, whole and bounded, before anything is parsed (RFC 9051 2.2.1).

A command that turns out to be nonsense can therefore always be skipped, and the stream stands at the next command. A
synchronizing literal is asked for here, or refused without being read; a non-synchronizing one that is refused
(RFC 7888) is read and dropped, for its octets come in any case.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from protocols.reader import Buffer, InputTooLong

_LITERAL = re.compile(rb"~?\{([0-9]{1,20})(\+?)\}\Z")
_HEAD = re.compile(rb"([^\x00-\x20\x7f-\xff(){%*\"\\+]+) +([A-Za-z0-9]+)( .*)?\Z", re.DOTALL)
_TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+")

CONTINUE = b"+ Ready for literal data\r\n"
MESSAGE_VERBS = frozenset({b"APPEND", b"REPLACE", b"UID REPLACE"})
UID_VERBS = frozenset(
    {b"COPY", b"ESEARCH", b"EXPUNGE", b"FETCH", b"MOVE", b"REPLACE", b"SEARCH", b"SORT", b"STORE", b"THREAD"}
)

Literal = tuple[bytes]
"""A literal among the pieces of a command: a tuple of one, so that it is never mistaken for text."""

Piece = bytes | Literal


@dataclass(frozen=True, slots=True)
class RawCommand:
    """A command, cut and not yet parsed: text and literals alternate in `pieces`, verb and tag taken off."""

    tag: bytes
    verb: bytes
    """Upper case; `UID FETCH` and the like are one verb."""
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class BrokenCommand:
    """What stood where a command should, and the reply that it gets."""

    tag: bytes
    condition: bytes
    """`BAD` or `NO`."""
    text: bytes
    fatal: bool = False
    """Whether the connection must end, because it cannot be known where the next command begins."""
    refused_literal: bool = False
    """The client did what it should; this is not counted against it."""


@dataclass(slots=True)
class CutterLimits:
    """Bounds, in octets."""

    line_bytes_max: int
    command_bytes_max: int
    """Lines and literals of a command together, messages apart."""
    literal_bytes_max: int
    """A literal that is no message."""
    message_bytes_max: int
    """A message to be appended; all of one command together may be `messages_per_command` times as large."""
    messages_per_command: int = 4
    skip_bytes_max: int = 1 << 30
    """A refused non-synchronizing literal up to this size is read and dropped; a larger one ends the connection."""


class CommandCutter:
    """Cuts commands from a buffer. `next` is called again when more octets have arrived."""

    __slots__ = (
        "_broken",
        "_chunks",
        "_head",
        "_literal_left",
        "_octets",
        "_pieces",
        "_skip_left",
        "limits",
        "non_synchronizing_max",
    )

    def __init__(self, limits: CutterLimits) -> None:
        self.limits = limits
        self.non_synchronizing_max: int | None = None
        """Largest literal that may come without being asked for: None any (LITERAL+), 4096 with LITERAL-, -1 none."""
        self._reset()

    def _reset(self) -> None:
        self._head: tuple[bytes, bytes] | None = None
        self._pieces: list[Piece] = []
        self._chunks: list[bytes] = []
        self._octets = 0
        self._literal_left = -1
        self._skip_left = 0
        self._broken: BrokenCommand | None = None

    @property
    def inside(self) -> bool:
        """Whether a command has begun and is not there whole."""
        return self._head is not None

    def next(self, buffer: Buffer, ask: Callable[[bytes], None]) -> RawCommand | BrokenCommand | None:
        """The next command; None when more octets are needed. `ask` sends the request for a literal.

        Raises InputTooLong for a line over its limit that is no continuation of a command.
        """
        while True:
            if self._skip_left:
                self._skip_left -= len(buffer.some(min(self._skip_left, 1 << 20)))
                if self._skip_left:
                    return None
            if self._literal_left >= 0 and not self._take_literal(buffer):
                return None
            try:
                line = buffer.line(self.limits.line_bytes_max)
            except InputTooLong:
                if self._head is None:
                    raise
                tag = self._head[0]
                self._reset()
                return BrokenCommand(tag, b"BAD", b"[TOOBIG] The command line is too long")
            if line is None:
                return None
            if self._head is None and not line.endswith(b"}"):
                return self._single(line)
            result = self._continue(line, ask)
            if result is not None:
                self._reset()
                return result

    def _take_literal(self, buffer: Buffer) -> bool:
        left = self._literal_left
        while left:
            chunk = buffer.some(min(left, 1 << 20))
            if not chunk:
                self._literal_left = left
                return False
            left -= len(chunk)
            self._chunks.append(chunk)
        self._pieces.append((self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks),))
        self._chunks = []
        self._literal_left = -1
        return True

    def _single(self, line: bytes) -> RawCommand | BrokenCommand:
        head = split_head(line)
        if isinstance(head, BrokenCommand):
            return head
        tag, verb, rest = head
        return RawCommand(tag, verb, (rest,) if rest else ())

    def _continue(self, line: bytes, ask: Callable[[bytes], None]) -> RawCommand | BrokenCommand | None:
        """Take a line that begins, goes on with, or ends a command with literals."""
        self._octets += len(line) + 2
        match = _LITERAL.search(line)
        if self._head is None:
            head = split_head(line[: match.start()] if match else line)
            if isinstance(head, BrokenCommand):
                if match is None:
                    return head
                self._head = (head.tag, b"")
                self._broken = head
            else:
                tag, verb, rest = head
                self._head = (tag, verb)
                if match:
                    line = rest + line[match.start() :]
                    match = _LITERAL.search(line)
                else:
                    line = rest
        tag, verb = self._head
        if match is None:
            if line:
                self._pieces.append(line)
            if self._broken is None and self._octets > self.limits.command_bytes_max:
                return BrokenCommand(tag, b"BAD", b"[TOOBIG] The command is too long")
            return self._broken or RawCommand(tag, verb, tuple(self._pieces))
        return self._begin_literal(line, match, ask)

    def _begin_literal(self, line: bytes, match: re.Match[bytes], ask: Callable[[bytes], None]) -> BrokenCommand | None:
        assert self._head is not None
        tag, verb = self._head
        size = int(match[1])
        synchronizing = not match[2]
        refusal = self._broken or self._refuse(verb, size, tag)
        if refusal is None and not synchronizing:
            most = self.non_synchronizing_max
            if most is not None and size > most:
                refusal = BrokenCommand(tag, b"BAD", b"[TOOBIG] A literal of that size must be synchronizing")
        if synchronizing and refusal is not None:
            return refusal
        if refusal is not None:
            self._broken = refusal
            if size > self.limits.skip_bytes_max:
                return BrokenCommand(tag, refusal.condition, refusal.text, fatal=True)
            self._skip_left = size
            self._pieces.clear()
            return None
        text = line[: match.start()]
        if line[match.start() : match.start() + 1] == b"~":
            text += b"~"
        if text:
            self._pieces.append(text)
        self._octets += 0 if verb in MESSAGE_VERBS and size > self.limits.literal_bytes_max else size
        self._literal_left = size
        if synchronizing:
            ask(CONTINUE)
        return None

    def _refuse(self, verb: bytes, size: int, tag: bytes) -> BrokenCommand | None:
        limits = self.limits
        if verb in MESSAGE_VERBS and limits.message_bytes_max:
            held = sum(len(piece[0]) for piece in self._pieces if isinstance(piece, tuple))
            if size > limits.message_bytes_max or held + size > limits.message_bytes_max * limits.messages_per_command:
                text = b"[TOOBIG] A message may have at most %d octets" % limits.message_bytes_max
                return BrokenCommand(tag, b"NO", text, refused_literal=True)
            return None
        if size > limits.literal_bytes_max or self._octets + size > limits.command_bytes_max:
            return BrokenCommand(tag, b"BAD", b"[TOOBIG] The literal is too large")
        return None


def tag_of(line: bytes) -> bytes:
    """The tag with which a line begins; `*` where it has none, for then the reply is an untagged one."""
    tag = _TAG.match(line)
    return b"*" if tag is None or (len(line) > tag.end() and line[tag.end()] != 0x20) else tag[0]


def split_head(line: bytes) -> tuple[bytes, bytes, bytes] | BrokenCommand:
    """Tag, verb (upper case, with `UID` in front where it is) and the rest of a line."""
    match = _HEAD.match(line)
    if match is None:
        tag = tag_of(line)
        if tag == b"*":
            return BrokenCommand(tag, b"BAD", b"A command begins with a tag")
        return BrokenCommand(tag, b"BAD", b"A command is missing behind the tag")
    tag_text, verb, rest = match.groups()
    verb = verb.upper()
    if verb == b"UID" and rest:
        second, space, further = rest.lstrip(b" ").partition(b" ")
        if second.upper() in UID_VERBS:
            return tag_text, b"UID " + second.upper(), space + further
    return tag_text, verb, rest or b""
