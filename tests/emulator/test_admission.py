"""Who may connect."""

from __future__ import annotations

import pytest

from emulator.admission import Admission, network_of
from emulator.config import Settings


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def admission(clock=None, **fields) -> Admission:
    return Admission(Settings(**fields), clock or Clock())


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("local", "local", True),
    ],
)
def test_what_counts_as_one_peer(one, two, same):
    assert (network_of(one) == network_of(two)) == same


def test_connections_are_limited_in_all_and_by_address():
    gate = admission(connections_max=3, connections_per_address_max=2)
    assert gate.arrived("192.0.2.1") is None
    assert gate.arrived("192.0.2.1") is None
    assert "from your address" in gate.arrived("192.0.2.1")
    gate.left("192.0.2.1")
    assert gate.arrived("192.0.2.2") is None
    assert gate.arrived("192.0.2.3") == "too many connections"
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.9"):
        gate.left(address)
    assert gate.count == 0
    assert gate.arrived("192.0.2.1") is None


def test_an_address_that_keeps_failing_is_not_let_in_for_a_while():
    clock = Clock()
    gate = admission(clock, login_failures_per_address_max=6, login_failures_seconds=60)
    for _ in range(2):
        assert gate.arrived("192.0.2.1") is None
        gate.left("192.0.2.1", login_failures=3)
    assert "failed logins" in gate.arrived("192.0.2.1")
    gate.left("192.0.2.1")
    assert gate.arrived("192.0.2.2") is None
    clock.now = 61
    assert gate.arrived("192.0.2.1") is None


def test_loopback_may_fail_as_often_as_a_test_suite_likes():
    gate = admission(login_failures_per_address_max=1)
    for address in ("127.0.0.1", "::1", "local"):
        gate.arrived(address)
        gate.left(address, login_failures=5)
        assert gate.arrived(address) is None
