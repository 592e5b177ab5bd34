"""Seeded traffic."""

import random

from emulator.server import Server
from harness.soak import soak
from harness.traffic import Traffic


def test_the_same_seed_draws_the_same_messages() -> None:
    def message(seed: int) -> bytes:
        traffic = Traffic(Server.__new__(Server), seed)
        return traffic._message(random.Random(seed))

    assert message(1) == message(1)
    assert message(1) != message(2)


async def test_all_four_protocols_are_spoken() -> None:
    result = await soak("latest", 3, 1.5)
    assert set(result.counts) == {
        "smtp messages",
        "pop3 retrievals",
        "imap appends",
        "imap fetches",
        "nntp posts",
        "nntp articles",
    }
    assert not result.problems
