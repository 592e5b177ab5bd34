"""Sequence sets (RFC 9051 section 9, `sequence-set`): read, resolved against a mailbox, and written in short form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from protocols.registry import SyntaxProblem

NUMBER_MAX = 0xFFFFFFFF
"""Numbers are unsigned 32-bit (RFC 9051 section 9, `number`)."""

MODSEQ_MAX = (1 << 63) - 1
"""RFC 7162 section 7: mod-sequences are 63-bit."""

STAR = NUMBER_MAX + 1
"""`*`, the largest number in use. It sorts above all others, as the grammar wants."""

Ranges = tuple[tuple[int, int], ...]
"""(low, high) pairs, ascending, neither overlapping nor touching; `STAR` may stand in the last of them."""

_SET = re.compile(
    rb"(?:[1-9][0-9]{0,9}|\*)(?::(?:[1-9][0-9]{0,9}|\*))?(?:,(?:[1-9][0-9]{0,9}|\*)(?::(?:[1-9][0-9]{0,9}|\*))?)*"
)


def _number(text: bytes) -> int:
    if text == b"*":
        return STAR
    number = int(text)
    if number > NUMBER_MAX:
        raise SyntaxProblem("a number is larger than 4294967295")
    return number


@lru_cache(maxsize=1024)
def parse_set(text: bytes) -> Ranges:
    """The ranges of a sequence set, sorted and merged: `4:2,3,*` → ((2, 4), (STAR, STAR)). Raises SyntaxProblem."""
    if text.isdigit() and text[0] != 0x30:
        number = _number(text)
        return ((number, number),)
    if _SET.fullmatch(text) is None:
        raise SyntaxProblem("this is not a sequence set")
    ranges = []
    for item in text.split(b","):
        first, colon, second = item.partition(b":")
        low = _number(first)
        high = _number(second) if colon else low
        ranges.append((low, high) if low <= high else (high, low))
    return merge(ranges)


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges in any order as sorted ranges that neither overlap nor touch (but for `STAR`, which touches nothing)."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1 and low != STAR:
            if high > merged[-1][1]:
                merged[-1] = (merged[-1][0], high)
        elif merged and low == STAR and merged[-1][1] == STAR:
            continue
        else:
            merged.append((low, high))
    return tuple(merged)


def resolve(ranges: Ranges, largest: int) -> Ranges:
    """The ranges with `STAR` replaced by `largest`, cut to 1..largest. `9:*` means `largest:9` where 9 is above it."""
    resolved = []
    for first, last in ranges:
        low = min(first, largest) if last == STAR else first
        high = min(last, largest)
        if 0 < low <= high:
            resolved.append((low, high))
    if len(resolved) > 1 and resolved[-1][0] <= resolved[-2][1] + 1:
        return merge(resolved)
    return tuple(resolved)


def beyond(ranges: Ranges, largest: int) -> bool:
    """Whether a number of the set is larger than `largest`, or the set has `*` where there is nothing."""
    low, high = ranges[-1]
    if high == STAR:
        return largest == 0 or (low != STAR and low > largest) or (len(ranges) > 1 and ranges[-2][1] > largest)
    return high > largest


def spans(numbers: Sequence[int]) -> Ranges:
    """Ascending numbers as ranges; where few numbers are missing the cost depends on those alone."""
    if not numbers:
        return ()
    if _missing(numbers) * 16 < len(numbers):
        return _few_spans(numbers)
    ranges = []
    start = previous = numbers[0]
    for number in numbers:
        if number > previous + 1:
            ranges.append((start, previous))
            start = number
        previous = number
    ranges.append((start, previous))
    return tuple(ranges)


def _missing(numbers: Sequence[int]) -> int:
    """How many numbers there are between the first and the last that are not in the sequence."""
    return numbers[-1] - numbers[0] + 1 - len(numbers)


def _few_spans(numbers: Sequence[int]) -> Ranges:
    ranges = []
    start, size = 0, len(numbers)
    while start < size:
        inside, outside = start, size  # the run ends before `outside`, not before `inside`
        if numbers[-1] - numbers[start] == size - 1 - start:
            inside = size - 1
        step = 1
        while outside - inside > 1:
            probe = min(inside + step, (inside + outside) // 2) if outside < size else min(inside + step, size - 1)
            if numbers[probe] - numbers[start] == probe - start:
                inside, step = probe, step * 2
            else:
                outside = probe
        ranges.append((numbers[start], numbers[inside]))
        start = inside + 1
    return tuple(ranges)


_THOUSAND = b"".join(b" #%03d" % number for number in range(1000))


def list_numbers(numbers: Sequence[int]) -> bytes:
    """Ascending numbers in decimal, a space between them. Long ranges are written a thousand at a time."""
    if len(numbers) < 1000 or _missing(numbers) * 16 > len(numbers):
        return " ".join(map(str, numbers)).encode()
    parts: list[bytes] = []
    for low, high in spans(numbers):
        first, last = -(-low // 1000), (high + 1) // 1000
        first = max(first, 1)  # below a thousand there are no leading zeros to write
        if first >= last:
            parts.append(" ".join(map(str, range(low, high + 1))).encode())
            continue
        if low < first * 1000:
            parts.append(" ".join(map(str, range(low, first * 1000))).encode())
        parts.extend([_THOUSAND.replace(b"#", b"%d" % thousand)[1:] for thousand in range(first, last)])
        if last * 1000 <= high:
            parts.append(" ".join(map(str, range(last * 1000, high + 1))).encode())
    return b" ".join(parts)


def format_ranges(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Ranges as a sequence set; `STAR` is written `*`."""
    return ",".join([_text(low) if low == high else f"{_text(low)}:{_text(high)}" for low, high in ranges]).encode()


def _text(number: int) -> str:
    return "*" if number == STAR else str(number)


def format_set(numbers: Sequence[int]) -> bytes:
    """Ascending numbers as the shortest sequence set."""
    if len(numbers) == 1:
        return b"%d" % numbers[0]
    return format_ranges(spans(numbers))


def format_ordered(numbers: Sequence[int]) -> bytes:
    """Numbers in the given order; runs that ascend by one are written as ranges (COPYUID keeps order, RFC 4315)."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return format_ranges(ranges)


def contains(ranges: Ranges, number: int) -> bool:
    """Whether resolved ranges hold the number; O(log n)."""
    low, high = 0, len(ranges)
    while low < high:
        middle = (low + high) // 2
        if ranges[middle][1] < number:
            low = middle + 1
        else:
            high = middle
    return low < len(ranges) and ranges[low][0] <= number


def count(ranges: Ranges) -> int:
    """How many numbers resolved ranges hold."""
    return sum(high - low + 1 for low, high in ranges)
