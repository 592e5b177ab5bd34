"""Messages made to hurt: both conversions, and what IMAP asks for, take time that is linear in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.pathological import KINDS
from emulator.imail import inbound, outbound
from protocols.imap.envelope import bodystructure, envelope

OCTETS = 5_000


def convert(octets: bytes) -> None:
    message = inbound(octets)
    message.compute()
    envelope(message.structure)
    bodystructure(message.structure)
    assert outbound(message) is octets
    message.forget_original()
    inbound(outbound(message))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_time_is_linear(kind: str, linear: Callable[[Callable[[int], object], int], None]) -> None:
    made = {octets: KINDS[kind](octets) for octets in (OCTETS, OCTETS * 4)}
    linear(lambda octets: convert(made[octets]), OCTETS)
