"""What is explored or replayed: a build and the participants of a jam, as a value with a short name.

The name is the label of each schedule token, so that a token alone says which program it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

from emulator.builds import find_build
from emulator.config import Account, Settings
from emulator.scheduling import Preemption
from harness.exploration.execution import Execution, Program
from harness.exploration.rewind import Rewinder
from harness.exploration.schedule import Schedule
from harness.participants import (
    GROUP,
    KINDS,
    PAIR_NAMES,
    PASSWORD,
    UnknownParticipant,
    actor_names,
    join,
    parse_kinds,
    seat,
    template,
    user_of,
)
from harness.world import Template, World


class UnknownScenario(ValueError):
    """The text names no scenario of the deadlock family; it says which there are."""


@dataclass(frozen=True, slots=True)
class Article:
    """A deadlock of the family: which pairs of participants can close its cycle."""

    name: str
    defect: str
    title: str
    pairs: tuple[tuple[str, str], ...]


_CONVERSIONS_IN = tuple(name for (direction, _), name in PAIR_NAMES.items() if direction == "inbound")
_CONVERSIONS_OUT = tuple(name for (direction, _), name in PAIR_NAMES.items() if direction == "outbound")

ARTICLES: dict[str, Article] = {
    article.name: article
    for article in (
        Article(
            "q274403",
            "A",
            "the directory-notification thread against a conversion",
            tuple(product(("notification",), _CONVERSIONS_IN)),
        ),
        Article(
            "q279798",
            "B",
            "an inbound conversion against an outbound one",
            tuple(product(_CONVERSIONS_IN, _CONVERSIONS_OUT)),
        ),
        Article("q295969", "C", "a delivery report against a gateway's conversion", (("report", "gateway-out"),)),
    )
}


def find_article(name: str) -> Article:
    """By KB number in any case. Raises UnknownScenario."""
    article = ARTICLES.get(name.lower())
    if article is None:
        raise UnknownScenario(f"no scenario {name!r} to explore: there are {', '.join(ARTICLES)}")
    return article


@dataclass(frozen=True)
class Scenario:
    """One program for the explorer and the wire: a build, extra defects, participants."""

    build: str
    kinds: tuple[str, ...]
    defects: frozenset[str] = frozenset()
    _templates: list[Template] = field(default_factory=list, compare=False, repr=False)
    _free: list[tuple[World, Rewinder]] = field(default_factory=list, compare=False, repr=False)

    @property
    def label(self) -> str:
        """`5.5.2653.23 smtp,pop3`, with `+NAME` for each defect that the build does not bring along."""
        extra = "".join(f"+{name}" for name in sorted(self.defects))
        return f"{self.build}{extra} {','.join(self.kinds)}"

    @classmethod
    def parse(cls, label: str) -> Scenario:
        """The inverse of `label`. Raises UnknownScenario for what `label` did not make."""
        head, space, kinds = label.partition(" ")
        build, *defects = head.split("+")
        if not space:
            raise UnknownScenario(f"the token belongs to {label!r}, which is no scenario of mailjam")
        try:
            return cls(find_build(build).number, parse_kinds(kinds), frozenset(defects))
        except (UnknownParticipant, ValueError) as error:
            raise UnknownScenario(f"the token belongs to {label!r}: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """The participants' actors, in the order in which schedules number them."""
        return actor_names(self.kinds)

    def settings(self, **fields: Any) -> Settings:
        """A server for this scenario: no preemption but where the schedule says so."""
        accounts = tuple(Account(user_of(number), PASSWORD) for number in range(1, len(self.kinds) + 1))
        return Settings(
            build=self.build,
            defects=self.defects,
            accounts=accounts,
            groups=(GROUP,),
            preemption=Preemption(one_in=0),
            inbound_threads=max(1, self.kinds.count("smtp")),
            tls=False,
            **fields,
        )

    def world(self) -> World:
        """A fresh system with the participants, before the first step."""
        return join(self._seated())

    def _seated(self) -> World:
        if not self._templates:
            self._templates.append(template(self.settings(), self.kinds))
        return seat(World(self._templates[0]), self.kinds)

    def program(self) -> Program:
        """The factory for the engine. The world of an execution that has ended is rewound and used again."""
        if self._free:
            world, rewinder = self._free.pop()
            rewinder.rewind()
        else:
            world = self._seated()
            rewinder = world.rewinder()
        return join(world).program(lambda: self._free.append((world, rewinder)))

    def operations(self, schedule: Schedule) -> list[tuple[int, str]]:
        """(participant, point) of each step of a schedule, found by following it in memory.

        Raises DivergedError when the program does not go along.
        """
        from harness.exploration.search import replay  # noqa: PLC0415 - the engine's searches are not needed to run

        outcome = replay(self.program, schedule)
        return list(zip(schedule.order, outcome.operations, strict=True))


def check_participation(scenario: Scenario) -> None:
    """Make sure that an exploration would be about something: each participant enters the conversion stage.

    Raises RuntimeError naming one that does not: then a verdict would be hollow.
    """
    execution = Execution(scenario.program)
    while enabled := execution.enabled():
        execution.step(enabled[0])
    seen: dict[int, list[str]] = {}
    for index, op in zip(execution.order, execution.performed, strict=True):
        seen.setdefault(index, []).append(str(op))
    outcome = execution.outcome()
    execution.close()
    if outcome.error is not None:
        raise RuntimeError(f"{scenario.label}: a participant failed: {outcome.error!r}") from outcome.error
    for index, (kind, name) in enumerate(zip(scenario.kinds, scenario.names, strict=True)):
        path = KINDS[kind].path
        if not any(point.startswith(f"{path}.") and point.endswith(".wanted") for point in seen.get(index, ())):
            raise RuntimeError(f"{scenario.label}: {name} never took the {path} path: {seen.get(index)}")
