"""A pool of one thread that waits for work of its own.

Source: asgiref#495 and its family.
"""

from __future__ import annotations

import concurrent.futures

from harness.catalogue.entry import Entry


async def plain(fixed: bool) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        def outer() -> int:
            return 0 if fixed else pool.submit(int).result()

        pool.submit(outer).result()


ENTRY = Entry(
    19,
    "a pool of one thread that waits for work of its own",
    "asgiref#495 and its family",
    "H",
    "WT",
    plain=plain,
)
