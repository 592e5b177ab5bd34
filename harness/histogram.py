"""Latencies of many machines in one histogram: buckets grow by an eighth of an octave, so that adding is merging."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

BUCKETS_PER_OCTAVE = 8
SMALLEST_SECONDS = 1e-6
BUCKETS_MAX = 400
"""From a microsecond to some 31 years."""


class Histogram:
    """Counts by bucket. A quantile is right to within 9 percent, whatever was merged."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.longest = 0.0
        """Seconds, exact."""

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.longest = max(self.longest, seconds)
        bucket = math.ceil(math.log2(max(seconds, SMALLEST_SECONDS) / SMALLEST_SECONDS) * BUCKETS_PER_OCTAVE)
        self.counts[min(bucket, BUCKETS_MAX)] += 1

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return self.counts.total()

    def merge(self, other: Histogram) -> None:
        """Count all that the other counted."""
        self.counts.update(other.counts)
        self.longest = max(self.longest, other.longest)

    def quantile(self, share: float) -> float:
        """The duration (the upper bound of its bucket, never above the longest) that `share` of all stay below."""
        wanted, seen = share * self.total, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return min(SMALLEST_SECONDS * math.exp2(bucket / BUCKETS_PER_OCTAVE), self.longest)
        return 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"counts": {str(bucket): count for bucket, count in self.counts.items()}, "longest": self.longest}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Histogram:
        """Raises ValueError for what is no histogram."""
        made = cls()
        try:
            for bucket, count in values["counts"].items():
                if not 0 <= int(bucket) <= BUCKETS_MAX or int(count) < 0:
                    raise ValueError("a bucket or a count is out of bounds")
                made.counts[int(bucket)] += int(count)
            made.longest = float(values["longest"])
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError(f"not a histogram: {problem!r}") from None
        return made
