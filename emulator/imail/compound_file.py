"""Compound files (MS-CFB): a tree of storages and streams as nested dictionaries, in version 3 form.

Reading is bounded by the file: chains that run in circles end, entries that lie outside are passed over.
"""

from __future__ import annotations

import struct
from typing import Final

Tree = dict[str, "bytes | Tree"]

SIGNATURE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_END: Final = 0xFFFFFFFE
_FREE: Final = 0xFFFFFFFF
_FAT_SECTOR: Final = 0xFFFFFFFD
_DIFAT_SECTOR: Final = 0xFFFFFFFC
_SECTOR: Final = 512
_MINI_SECTOR: Final = 64
_MINI_CUTOFF: Final = 4096
_ENTRY: Final = struct.Struct("<64sHBBIII16sIQQIQ")
_HEADER: Final = struct.Struct("<8s16xHHHHH6xIIIIIIIII")
_DEPTH_MAX: Final = 100
_STORAGE, _STREAM, _ROOT = 1, 2, 5


class _Reader:
    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        fields = _HEADER.unpack_from(octets)
        _, _, _, _, shift, mini_shift, _, _, directory, _, _, mini_fat, _, difat, _ = fields
        self._size = 1 << min(max(shift, 7), 16)
        self._mini_size = 1 << min(max(mini_shift, 4), 12)
        count = len(octets) // self._size
        sectors = [s for s in struct.unpack_from("<109I", octets, 76) if s < count]
        seen = 0
        while difat < count and seen <= count:
            numbers = struct.unpack_from(f"<{self._size // 4}I", self._sector(difat).ljust(self._size, b"\xff"))
            sectors += [s for s in numbers[:-1] if s < count]
            difat = numbers[-1]
            seen += 1
        table = b"".join([self._sector(sector) for sector in sectors[: count + 1]])
        self._fat = struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])
        entries = self._chain(directory, len(octets))
        self._entries = [
            _ENTRY.unpack_from(entries, at) for at in range(0, len(entries) - _ENTRY.size + 1, _ENTRY.size)
        ]
        mini = self._chain(mini_fat, len(octets))
        self._mini_fat = struct.unpack(f"<{len(mini) // 4}I", mini[: len(mini) // 4 * 4])
        root = self._entries[0] if self._entries else None
        self._mini = self._chain(root[11], root[12]) if root is not None else b""

    def _sector(self, number: int) -> bytes:
        at = (number + 1) * self._size
        return self._octets[at : at + self._size]

    def _chain(self, sector: int, size: int) -> bytes:
        parts: list[bytes] = []
        most = min(size // self._size + 1, len(self._fat))
        while sector < len(self._fat) and len(parts) < most:
            parts.append(self._sector(sector))
            sector = self._fat[sector]
        return b"".join(parts)[:size]

    def _mini_chain(self, sector: int, size: int) -> bytes:
        parts: list[bytes] = []
        most = size // self._mini_size + 1
        while sector < len(self._mini_fat) and len(parts) < most:
            at = sector * self._mini_size
            parts.append(self._mini[at : at + self._mini_size])
            sector = self._mini_fat[sector]
        return b"".join(parts)[:size]

    def tree(self) -> Tree:
        if not self._entries:
            return {}
        return self._storage(self._entries[0][6], set(), 0)

    def _storage(self, first: int, seen: set[int], depth: int) -> Tree:
        found: Tree = {}
        pending = [first]
        while pending:
            index = pending.pop()
            if index >= len(self._entries) or index in seen:
                continue
            seen.add(index)
            raw, length, kind, _, left, right, child, _, _, _, _, start, size = self._entries[index]
            pending += [left, right]
            name = raw[: max(min(length, 64) - 2, 0)].decode("utf-16-le", "replace")
            size &= 0xFFFFFFFF
            if kind == _STREAM:
                small = size < _MINI_CUTOFF
                found[name] = self._mini_chain(start, size) if small else self._chain(start, size)
            elif kind == _STORAGE and depth < _DEPTH_MAX:
                found[name] = self._storage(child, seen, depth + 1)
        return found


def read_compound_file(octets: bytes) -> Tree | None:
    """The tree, or None where the octets are no compound file. Never raises."""
    if not octets.startswith(SIGNATURE) or len(octets) < _SECTOR:
        return None
    try:
        return _Reader(octets).tree()
    except struct.error:
        return None


class _Writer:
    def __init__(self) -> None:
        self._sectors: list[bytes] = []
        self._fat: list[int] = []
        self._mini = bytearray()
        self._mini_fat: list[int] = []
        self._entries: list[list[object]] = []

    def _chain(self, octets: bytes) -> int:
        """Put octets into sectors of their own; the first one."""
        if not octets:
            return _END
        first = len(self._sectors)
        for at in range(0, len(octets), _SECTOR):
            self._sectors.append(octets[at : at + _SECTOR].ljust(_SECTOR, b"\0"))
            self._fat.append(len(self._sectors))
        self._fat[-1] = _END
        return first

    def _mini_chain(self, octets: bytes) -> int:
        if not octets:
            return _END
        first = len(self._mini_fat)
        for at in range(0, len(octets), _MINI_SECTOR):
            self._mini += octets[at : at + _MINI_SECTOR].ljust(_MINI_SECTOR, b"\0")
            self._mini_fat.append(len(self._mini_fat) + 1)
        self._mini_fat[-1] = _END
        return first

    def _entry(self, name: str, kind: int) -> list[object]:
        raw = name.encode("utf-16-le")[:62]
        entry: list[object] = [raw, len(raw) + 2, kind, 1, _FREE, _FREE, _FREE, bytes(16), 0, 0, 0, 0, 0]
        self._entries.append(entry)
        return entry

    def _add(self, tree: Tree) -> int:
        """Entries of a storage as a balanced tree; the index of its root."""
        indices: list[int] = []
        for name, value in sorted(tree.items(), key=lambda item: (len(item[0]), item[0].upper())):
            indices.append(len(self._entries))
            if isinstance(value, dict):
                entry = self._entry(name, _STORAGE)
                entry[6] = self._add(value)
            else:
                entry = self._entry(name, _STREAM)
                entry[11] = self._mini_chain(value) if len(value) < _MINI_CUTOFF else self._chain(value)
                entry[12] = len(value)
        return self._balance(indices)

    def _balance(self, indices: list[int]) -> int:
        if not indices:
            return _FREE
        middle = len(indices) // 2
        entry = self._entries[indices[middle]]
        entry[4] = self._balance(indices[:middle])
        entry[5] = self._balance(indices[middle + 1 :])
        return indices[middle]

    def write(self, tree: Tree) -> bytes:
        root = self._entry("Root Entry", _ROOT)
        root[6] = self._add(tree)
        root[11], root[12] = self._chain(bytes(self._mini)), len(self._mini)
        mini_fat = b"".join([number.to_bytes(4, "little") for number in self._mini_fat])
        mini_sectors = -(-len(mini_fat) // _SECTOR)
        mini_start = self._chain(mini_fat.ljust(mini_sectors * _SECTOR, b"\xff"))
        while len(self._entries) % 4:
            self._entries.append([b"", 0, 0, 0, _FREE, _FREE, _FREE, bytes(16), 0, 0, 0, 0, 0])
        directory = self._chain(b"".join([_ENTRY.pack(*entry) for entry in self._entries]))
        return self._finish(directory, mini_start, mini_sectors)

    def _finish(self, directory: int, mini_start: int, mini_sectors: int) -> bytes:
        used = len(self._sectors)
        fat_count = difat_count = 0
        while True:
            # the allocation table has to hold its own sectors too
            fat_needed = -(-(used + fat_count + difat_count) // 128)
            difat_needed = max(-(-(fat_needed - 109) // 127), 0)
            if (fat_needed, difat_needed) == (fat_count, difat_count):
                break
            fat_count, difat_count = fat_needed, difat_needed
        numbers = list(range(used, used + fat_count))
        fat = self._fat + [_FAT_SECTOR] * fat_count + [_DIFAT_SECTOR] * difat_count
        fat += [_FREE] * (fat_count * 128 - len(fat))
        first_difat = used + fat_count if difat_count else _END
        difat: list[int] = []
        for index in range(difat_count):
            part = numbers[109 + index * 127 : 109 + (index + 1) * 127]
            following = first_difat + index + 1 if index + 1 < difat_count else _END
            difat += part + [_FREE] * (127 - len(part)) + [following]
        header = _HEADER.pack(
            SIGNATURE, 0x3E, 3, 0xFFFE, 9, 6, 0, fat_count, directory, 0, _MINI_CUTOFF, mini_start, mini_sectors,
            first_difat, difat_count,
        )  # fmt: skip
        head = numbers[:109] + [_FREE] * (109 - min(len(numbers), 109))
        tables = struct.pack(f"<{len(fat) + len(difat)}I", *fat, *difat)
        return b"".join([header, struct.pack("<109I", *head), *self._sectors, tables])


def write_compound_file(tree: Tree) -> bytes:
    """The tree as a file. Names are cut after 31 characters."""
    return _Writer().write(tree)
