"""The cutter of input: lines, counted octets and dot-terminated blocks out of a byte stream (sans-IO).

Every cut is bounded, remembers how far it searched (a slow peer costs linear time), and ends lines at CRLF only: a lone
CR or LF is an octet like any other, which is what keeps smuggled commands out (RFC 5321 section 2.3.8, RFC 3977
section 3.1, RFC 9051 section 2.2). "More input is needed" is the value `None`, never an await.
"""

from __future__ import annotations

COMPACT_OCTETS = 65536
"""Consumed octets are dropped from the front of the buffer in steps of this size."""


HEAD_OCTETS = 64
"""How much of an over-long line is kept, to see whom to answer."""


class InputTooLong(Exception):
    """A line or block went over its limit. It has been skipped whole: the stream stands at the next command."""

    def __init__(self, limit: int, head: bytes = b"") -> None:
        super().__init__(f"longer than {limit} octets")
        self.limit = limit
        self.head = head
        """How it began: its first `HEAD_OCTETS`."""


class Buffer:
    """Octets that have arrived and have not been consumed."""

    __slots__ = ("_data", "_head", "_position", "_scanned", "_skipping", "quirk_bare_lf")

    def __init__(self, *, quirk_bare_lf: bool = False) -> None:
        """`quirk_bare_lf`: a lone LF ends a *command line* too (for people who type into netcat); never a dot-block."""
        self._data = bytearray()
        self._position = 0
        self._scanned = 0
        self._skipping = False
        self._head = b""
        self.quirk_bare_lf = quirk_bare_lf

    def __len__(self) -> int:
        return len(self._data) - self._position

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Append octets as they arrived."""
        self._data += data

    def clear(self) -> None:
        """Forget everything that has arrived (at STARTTLS: RFC 3207 section 4.2, CVE-2011-0411)."""
        self._data.clear()
        self._position = self._scanned = 0
        self._skipping = False

    def take_all(self) -> bytes:
        """All octets that have arrived, consumed."""
        data = bytes(self._data[self._position :]) if self._position else bytes(self._data)
        self.clear()
        return data

    def holds_only(self, octets: bytes) -> bool:
        """Whether these octets have arrived, and nothing else."""
        return len(self) == len(octets) and not self._skipping and self._data.endswith(octets)

    def _consume(self, end: int) -> None:
        self._position = self._scanned = end
        if end >= len(self._data):
            self._data.clear()
            self._position = self._scanned = 0
        elif end >= COMPACT_OCTETS:
            del self._data[:end]
            self._position = self._scanned = 0

    def _find(self, mark: bytes) -> int:
        """Where `mark` begins, or -1; the next search goes on where this one ended."""
        index = self._data.find(mark, self._scanned)
        if index < 0:
            self._scanned = max(self._position, len(self._data) - len(mark) + 1)
        return index

    def line(self, line_bytes_max: int) -> bytes | None:
        """The next line without its CRLF; None when it is not there whole.

        `line_bytes_max` counts the CRLF, as RFC 5321 section 4.5.3.1 and RFC 3977 section 3.1 do.
        Raises InputTooLong once the end of an over-long line has arrived; its octets are not kept meanwhile.
        """
        data = self._data
        if not data:
            return None
        index = data.find(b"\r\n", self._scanned)
        ending = 2
        if self.quirk_bare_lf:
            bare = data.find(b"\n", self._scanned)
            if 0 <= bare != index + 1:
                index, ending = bare, 1
        if index < 0:
            self._scanned = max(self._position, len(data) - 1)
            if len(data) - self._position > line_bytes_max:
                self._skip(keep=1)
            return None
        start, end = self._position, index + ending
        if self._skipping or end - start > line_bytes_max:
            head = self._head if self._skipping else bytes(data[start : start + HEAD_OCTETS])
            self._skipping = False
            self._consume(end)
            raise InputTooLong(line_bytes_max, head)
        line = bytes(data[start:index])
        self._consume(end)
        return line

    def octets(self, count: int) -> bytes | None:
        """Exactly `count` octets, or None when fewer have arrived. The caller bounds `count`."""
        start = self._position
        if len(self._data) - start < count:
            return None
        octets = bytes(memoryview(self._data)[start : start + count])
        self._consume(start + count)
        return octets

    def some(self, count_max: int) -> bytes:
        """What has arrived, at most `count_max` octets."""
        start = self._position
        octets = bytes(memoryview(self._data)[start : start + count_max])
        self._consume(start + len(octets))
        return octets

    def dot_block(self, block_bytes_max: int) -> bytes | None:
        """The octets up to a line that is a lone dot, dot-unstuffed; None when the end has not arrived.

        The block keeps its last CRLF; an empty block is b"". RFC 5321 section 4.5.2, RFC 3977 section 3.1.1.
        Raises InputTooLong once the end of an over-long block has arrived; its octets are not kept meanwhile.
        """
        data, start = self._data, self._position
        if not self._skipping and len(data) - start >= 3 and data.startswith(b".\r\n", start):
            self._consume(start + 3)
            return b""
        # most blocks are here whole and have no stuffed line: then the first line that begins with a dot is their end
        first = data.find(b"\r\n.", start) if self._scanned == start else -1
        plain = first >= 0 and data.startswith(b"\r\n", first + 3)
        index = first if plain else self._find(b"\r\n.\r\n")
        if index < 0:
            if len(data) - start > block_bytes_max + 5:
                self._skip(keep=4)
            return None
        if self._skipping or index + 2 - start > block_bytes_max:
            self._skipping = False
            self._consume(index + 5)
            raise InputTooLong(block_bytes_max)
        block = bytes(memoryview(data)[start : index + 2])
        self._consume(index + 5)
        if plain:
            return block[1:] if block.startswith(b".") else block
        return unstuff(block)

    def _skip(self, keep: int) -> None:
        """Drop what has arrived of an over-long piece, but for the octets in which its end may have begun."""
        if not self._skipping:
            self._head = bytes(self._data[self._position : self._position + HEAD_OCTETS])
        self._skipping = True
        del self._data[: len(self._data) - keep]
        self._position = self._scanned = 0


def unstuff(block: bytes) -> bytes:
    """Undo dot-stuffing: one dot is taken from each line that begins with one (RFC 5321 section 4.5.2)."""
    if b"\r\n." in block:
        block = block.replace(b"\r\n.", b"\r\n")
    return block[1:] if block.startswith(b".") else block
