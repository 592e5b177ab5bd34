"""Ways to jam, and near misses that are none: 36 small programs, each with a fixed twin, with verdicts and sources.

Each program is written once against a `World` and runs in two: on the explorer's objects, which behave like asyncio's
to the step, and on asyncio itself. `harness.catalogue.judge` asks mailjam's detectors about each of the 72.
"""

from harness.catalogue.entry import Entry, entries

__all__ = ["Entry", "entries"]
