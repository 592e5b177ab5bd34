"""A header block: ordered fields as they stand in the octets, found once, unfolded only when asked for.

RFC 5322 section 2.2. A line that is no field ("From " of mbox, garbage) is kept as a field without a name, so that the
block can always be given back octet for octet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

_FIELD = re.compile(rb"(?:([^\x00-\x20:\x7f]+)([ \t]*:))?((?:[^\n]*+\n(?=[ \t]))*+[^\n]*+\n?)")
"""Name, colon and raw value with its line end. The value is matched possessively: nothing makes it backtrack."""

_WHITE = b" \t\r\n"


def unfold(value: bytes) -> bytes:
    """The value on one line: line ends go, the white space after them stays (RFC 5322 section 2.2.3)."""
    value = value.strip(_WHITE)
    return value.replace(b"\r\n", b"").replace(b"\n", b"") if b"\n" in value else value


class HeaderBlock:
    """Fields of `octets[start:end]`; `end` excludes the blank line.

    Names are compared without case (RFC 5322 section 1.2.2) and given as octets or text; values are octets.
    """

    __slots__ = ("_first", "_raw", "end", "fields_max", "octets", "start")

    def __init__(self, octets: bytes, start: int, end: int, fields_max: int = 10_000) -> None:
        """`fields_max`: after that many the rest of the block counts as one field without a name."""
        self.octets = octets
        self.start = start
        self.end = end
        self.fields_max = fields_max
        self._raw: list[tuple[bytes, bytes, bytes]] | None = None
        self._first: dict[bytes, bytes] | None = None

    @property
    def raw(self) -> list[tuple[bytes, bytes, bytes]]:
        """(name as written, colon with the white space before it, value with line ends) in order.

        The three joined are the exact octets. A line that is no field has an empty name and an empty colon.
        """
        raw = self._raw
        if raw is None:
            if self.end - self.start > self.fields_max:
                raw = self._bounded()
            else:  # no more fields than octets: the quick way keeps the limit too
                raw = _FIELD.findall(self.octets, self.start, self.end)
            if raw and not raw[-1][2] and not raw[-1][0]:
                raw.pop()
            self._raw = raw
        return raw

    def _bounded(self) -> list[tuple[bytes, bytes, bytes]]:
        """At most `fields_max` fields; the octets behind them are the last one, which has no name."""
        raw: list[tuple[bytes, bytes, bytes]] = []
        at = self.start
        for match in islice(_FIELD.finditer(self.octets, self.start, self.end), self.fields_max):
            raw.append(match.groups(b""))  # type: ignore[arg-type]  # the pattern has three groups
            at = match.end()
        if at < self.end:
            raw.append((b"", b"", self.octets[at : self.end]))
        return raw

    def _index(self) -> dict[bytes, bytes]:
        first = {name.lower(): value for name, _, value in reversed(self.raw)}
        self._first = first
        return first

    @property
    def first(self) -> dict[bytes, bytes]:
        """Values as they stand of the first field of each name, by lower-case name."""
        return self._index() if self._first is None else self._first

    def get(self, name: bytes | str) -> bytes | None:
        """Unfolded value of the first field called `name`, or None."""
        first = self._first
        if first is None:
            first = self._index()
        value = first.get(name)  # type: ignore[arg-type]  # text is simply not found
        if value is None:
            if not first or (name.__class__ is bytes and name.islower()):
                return None
            value = first.get(_key(name))
            if value is None:
                return None
        return unfold(value)

    def get_all(self, name: bytes | str) -> list[bytes]:
        """Unfolded values of all fields called `name`, in order."""
        first = self._first
        if first is None:
            first = self._index()
        key = _key(name)
        if key not in first or not key:
            return []
        return [unfold(value) for found, _, value in self.raw if found.lower() == key]

    def last(self, name: bytes | str) -> bytes | None:
        """Unfolded value of the last field called `name`, or None."""
        values = self.get_all(name)
        return values[-1] if values else None

    def __contains__(self, name: bytes | str) -> bool:
        first = self._first
        if first is None:
            first = self._index()
        return bool(name) and _key(name) in first

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """(name as written, unfolded value) in order, without lines that are no fields."""
        for name, _, value in self.raw:
            if name:
                yield name, unfold(value)

    def __len__(self) -> int:
        return len(self.raw)

    def names(self) -> list[bytes]:
        """Lower-case names in order of first appearance."""
        return list(dict.fromkeys(name.lower() for name, _, _ in self.raw if name))

    def fields(self, names: Iterable[bytes | str]) -> bytes:
        """Exact octets of the fields with these names, in the order of the block (BODY[HEADER.FIELDS (...)])."""
        wanted = {_key(name) for name in names}
        return b"".join([b"".join(field) for field in self.raw if field[0] and field[0].lower() in wanted])

    def fields_not(self, names: Iterable[bytes | str]) -> bytes:
        """Exact octets of the fields with other names (BODY[HEADER.FIELDS.NOT (...)])."""
        unwanted = {_key(name) for name in names}
        return b"".join([b"".join(field) for field in self.raw if field[0] and field[0].lower() not in unwanted])

    def first_garbage(self, *, behind_a_field: bool = False) -> int:
        """Offset in the octets of the first line that is no field, or -1; `behind_a_field`: those before it pass."""
        position = self.start
        passes = behind_a_field
        for name, colon, value in self.raw:
            if name:
                passes = False
            elif not passes:
                return position
            position += len(name) + len(colon) + len(value)
        return -1


def _key(name: bytes | str) -> bytes:
    if isinstance(name, str):
        name = name.encode("utf-8", "replace")
    return name.lower()
