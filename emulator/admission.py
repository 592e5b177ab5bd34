"""Who may connect: limits on all connections, on those of one address, and on the failed logins of one address."""

from __future__ import annotations

from collections import Counter, deque
from ipaddress import ip_address
from typing import TYPE_CHECKING

from protocols.ports import Clock

if TYPE_CHECKING:
    from .config import Settings

ADDRESSES_REMEMBERED_MAX = 10_000
"""Addresses with failed logins; beyond it the one that failed longest ago is forgotten."""
IPV6_PREFIX_BITS = 64
"""A host has a whole prefix of this length to choose its addresses from: it counts as one."""


def network_of(address: str) -> str:
    """What counts as one peer: an IPv4 address, the /64 of an IPv6 address, a name such as `local`."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped) if mapped is not None else f"{parsed.packed[: IPV6_PREFIX_BITS // 8].hex()}::/64"


def is_loopback(address: str) -> bool:
    """Whether a peer is on this machine, where test suites fail logins on purpose, hundreds of times a minute."""
    try:
        return ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return True  # a Unix socket


class Admission:
    """Counts connections and failed logins by address."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._connections: Counter[str] = Counter()
        self._failures: dict[str, deque[float]] = {}
        self.refused = 0
        self.count = 0
        """Open connections."""

    def arrived(self, address: str) -> str | None:
        """A connection is there: why it is refused, or None. `left` must follow in either case."""
        network = network_of(address)
        self._connections[network] += 1
        self.count += 1
        problem = self._problem(address, network)
        if problem is not None:
            self.refused += 1
        return problem

    def _problem(self, address: str, network: str) -> str | None:
        if self.count > self._settings.connections_max:
            return "too many connections"
        if self._connections[network] > self._settings.connections_per_address_max:
            return "too many connections from your address"
        if self._recent_failures(network) >= self._settings.login_failures_per_address_max and not is_loopback(address):
            return "too many failed logins from your address, try again later"
        return None

    def left(self, address: str, login_failures: int = 0) -> None:
        """A connection has ended, with so many failed logins in it."""
        network = network_of(address)
        if network not in self._connections:
            return
        self.count -= 1
        self._connections[network] -= 1
        if self._connections[network] <= 0:
            del self._connections[network]
        if login_failures:
            self._remember(network, login_failures)

    def _remember(self, network: str, login_failures: int) -> None:
        kept = self._failures.pop(network, None) or deque(maxlen=self._settings.login_failures_per_address_max)
        kept.extend([self._clock.monotonic()] * login_failures)
        self._failures[network] = kept
        while len(self._failures) > ADDRESSES_REMEMBERED_MAX:
            del self._failures[next(iter(self._failures))]

    def _recent_failures(self, network: str) -> int:
        kept = self._failures.get(network)
        if kept is None:
            return 0
        oldest = self._clock.monotonic() - self._settings.login_failures_seconds
        while kept and kept[0] < oldest:
            kept.popleft()
        if not kept:
            del self._failures[network]
        return len(kept)
