"""Build number → set of named defects, as data.

A build is the file version of Store.exe: the hotfix level (KB Q278518). Which defects it has is told by their ranges
(emulator.defects). A lock-order defect changes nothing but the *order* in which a path enters its sections
(`Build.order`); no line of code asks "am I buggy?".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .defects import (
    BY_NAME,
    DEFECTS,
    SECTION_DIRECTORY,
    SECTION_GATEWAY,
    SECTION_IMAIL,
    Defect,
    Poison,
    find_defect,
)

__all__ = ["DEFECTS", "SECTION_DIRECTORY", "SECTION_GATEWAY", "SECTION_IMAIL", "Build", "Defect", "find_build"]

SECTION_RANKS: dict[str, int] = {SECTION_IMAIL: 1, SECTION_DIRECTORY: 2, SECTION_GATEWAY: 3}
"""The global lock order: a section may be entered only while no section of higher rank is held."""

ORDERS: dict[str, tuple[str, ...]] = {
    "inbound": (SECTION_IMAIL, SECTION_DIRECTORY),
    "outbound": (SECTION_IMAIL, SECTION_DIRECTORY),
    "notification": (SECTION_IMAIL, SECTION_DIRECTORY),
    "report": (SECTION_IMAIL, SECTION_GATEWAY),
    "gateway": (SECTION_IMAIL, SECTION_GATEWAY),
}
"""The patched order of each path through the conversion stage."""


SERVICE_PACKS: tuple[tuple[int, str], ...] = (
    (1960, "5.5 (RTM)"),
    (2232, "5.5 SP1"),
    (2448, "5.5 SP2"),
    (2650, "5.5 SP3"),
    (2653, "5.5 SP4"),
    (2654, "5.5 SP4 + hotfix"),
    (2655, "5.5 SP4 + roll-up"),
)

KNOWN_BUILDS: tuple[str, ...] = (
    "5.5.1960.6",
    "5.5.2232.9",
    "5.5.2448.8",
    "5.5.2650.24",
    "5.5.2653.7",
    "5.5.2653.18",
    "5.5.2653.23",
    "5.5.2654.28",
    "5.5.2654.29",
    "5.5.2654.93",
    "5.5.2654.94",
    "5.5.2655.37",
)
"""Builds worth a row in the matrix; any number in between may be named too."""

DEFECTIVE_BUILD = "5.5.2653.23"
PATCHED_BUILD = "5.5.2654.29"
DEFAULT_BUILD = "5.5.2655.37"
"""The last roll-up: no known defect, so that a server which nobody wants to jam does not."""


class UnknownBuild(ValueError):
    """The text is not a build of Exchange 5.5 or a name of one."""


@dataclass(frozen=True, slots=True)
class Build:
    """One level of Store.exe and the defects it has."""

    number: str
    service_pack: str
    defects: frozenset[str]
    paths: dict[str, tuple[tuple[str, ...], tuple[type[Exception], ...]]] = field(init=False, repr=False, compare=False)
    """For each path its `order` and its `leaks`."""
    poisons: dict[str, tuple[Poison, ...]] = field(init=False, repr=False, compare=False)
    """For each path the messages that it cannot stomach."""
    _own: tuple[Defect, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fill = object.__setattr__  # once, while it is made
        fill(self, "_own", tuple(defect for defect in DEFECTS if defect.name in self.defects))
        fill(self, "paths", {path: (self._order(path), self._leaks(path)) for path in ORDERS})
        fill(self, "poisons", {path: self._poisons(path) for path in ORDERS})

    def order(self, path: str) -> tuple[str, ...]:
        """The sections of a path through the conversion stage, in the order in which this build enters them."""
        return self.paths[path][0]

    def leaks(self, path: str) -> tuple[type[Exception], ...]:
        """Errors on which the path returns without leaving its sections."""
        return self.paths[path][1]

    def _order(self, path: str) -> tuple[str, ...]:
        order = ORDERS[path]
        for defect in self._own:
            order = dict(defect.orders).get(path, order)
        return order

    def _leaks(self, path: str) -> tuple[type[Exception], ...]:
        return tuple(error for defect in self._own for leaking, error in defect.leaks if leaking == path)

    def _poisons(self, path: str) -> tuple[Poison, ...]:
        return tuple(poison for defect in self._own for poison in defect.poisons if poison.path == path)

    def holds_over_calls(self, path: str) -> bool:
        """Whether the path still holds its sections while it calls somebody else."""
        return any(path in defect.held_over_calls for defect in self._own)

    def frees(self, resource: str) -> bool:
        """Whether what was taken of a kind is given back."""
        return not any(resource in defect.never_frees for defect in self._own)

    def counter_bits(self, counter: str) -> int:
        """The bits of a signed counter."""
        return min((bits for defect in self._own for name, bits in defect.counters_bits if name == counter), default=64)

    def pool(self, work: str) -> int | None:
        """How many threads there are for a kind of work; None: as many as are asked for."""
        return min((threads for defect in self._own for name, threads in defect.pools if name == work), default=None)

    @property
    def quirks(self) -> frozenset[str]:
        """What front-ends and the relay do in their own way (emulator.quirks)."""
        return frozenset(quirk for defect in self._own for quirk in defect.quirks)

    def is_fatal(self, error: str) -> bool:
        """Whether the error of one message stops the Internet Mail Service."""
        return any(error in defect.fatal for defect in self._own)


_ALIASES = {
    "rtm": "5.5.1960.6",
    "sp1": "5.5.2232.9",
    "sp2": "5.5.2448.8",
    "sp3": "5.5.2650.24",
    "sp4": DEFECTIVE_BUILD,
    "patched": PATCHED_BUILD,
    "q279798": PATCHED_BUILD,
    "q295969": "5.5.2654.94",
    "latest": "5.5.2655.37",
}


def find_build(text: str, *, with_defects: frozenset[str] = frozenset()) -> Build:
    """The build named `5.5.MAJOR.MINOR`, `MAJOR.MINOR` or an alias (`sp3`, `sp4`, `patched`, `latest`).

    `with_defects` adds defects by name, whatever the number says. Raises UnknownBuild with the fix in its text.
    """
    wanted = _ALIASES.get(text.strip().lower(), text.strip())
    parts = wanted.removeprefix("5.5.").split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in parts):
        raise UnknownBuild(f"unknown build {text!r}: name one like 5.5.2653.23, or sp3, sp4, patched, latest")
    major, minor = int(parts[0]), int(parts[1])
    packs = [name for first, name in SERVICE_PACKS if major >= first]
    if not packs or major > 2700:
        raise UnknownBuild(f"unknown build {text!r}: Exchange 5.5 builds run from 5.5.1960.0 (RTM) to 5.5.2700.0")
    named = {text: find_defect(text) for text in with_defects}
    unknown = sorted(text for text, defect in named.items() if defect is None)
    if unknown:
        raise UnknownBuild(f"unknown defect {unknown[0]!r}: known are {', '.join(BY_NAME)}, or their KB numbers")
    extra = {defect.name for defect in named.values() if defect is not None}
    own = {defect.name for defect in DEFECTS if defect.first <= (major, minor) < defect.fixed}
    return Build(f"5.5.{major}.{minor}", packs[-1], frozenset(own | extra))
