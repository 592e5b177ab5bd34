"""Why a system is jammed: who holds what, who waits for whom, where each stands, what still works, what would free it.

`snapshot(server)` is one JSON value, of a system that runs or of one that is jammed; the HTTP API serves it at
`/api/jam`, `mailjam ps` shows it. `standstill` gives the same for a schedule of the explorer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.sections import Sections
from harness.exploration.execution import DivergedError, Execution
from harness.exploration.ops import set_running
from harness.exploration.schedule import Schedule, TokenError
from harness.scenario import Scenario, UnknownScenario
from harness.stacks import await_stack
from protocols.actor import Actor

if TYPE_CHECKING:
    from emulator.server import Server
    from emulator.thread_pool import ThreadPool
    from harness.world import World

WHO = {
    "inbound": "the worker of the Internet Mail Service that converts messages on their way in",
    "pop3": "a POP3 session",
    "imap": "an IMAP4 session",
    "nntp": "a newsreader's session",
    "smtp": "an SMTP session",
    "lmtp": "an LMTP session",
    "gateway": "a gateway's thread",
    "notification": "the directory-notification thread",
    "report": "the maker of a delivery report",
    "service-control": "the service control manager",
}
"""Kinds of actors, in words."""

STACK_LINES_MAX = 12
HELD_LONG_SECONDS = 1.0
"""A conversion takes milliseconds: a section that was held for longer is blocked, even before anybody waits for it."""


def position(actor: Actor, now: float | None) -> str:
    """Where an actor stands, in a sentence; without a time (`now`) it does not say how long it has waited."""
    what = f"{actor.name} ({WHO.get(actor.kind, actor.kind)}"
    what += f" of {actor.user})" if actor.user else ")"
    doing = f", doing {actor.doing}," if actor.doing else ""
    holds = " and ".join(section.name for section in actor.holding)
    held = f" holds {holds}" if holds else " holds nothing"
    section = actor.waiting_for
    if section is None:
        return f"{what}{doing}{held} and waits for no section"
    waits = "waits for" if now is None else f"has waited {max(0.0, now - actor.waiting_since):.1f} s for"
    return f"{what}{doing}{held} and {waits} {section.name}, which {section.owner} holds"


def describe_actor(actor: Actor, now: float | None) -> dict[str, Any]:
    """An actor as plain data; `now`: monotonic seconds, None where there is no time."""
    waiting = actor.waiting_for
    return {
        "name": actor.name,
        "kind": actor.kind,
        "user": actor.user,
        "doing": actor.doing,
        "words": str(actor),
        "position": position(actor, now),
        "holding": [section.name for section in actor.holding],
        "waiting_for": waiting.name if waiting is not None else None,
        "waiting_seconds": round(now - actor.waiting_since, 3) if now is not None and waiting is not None else None,
        "stack": await_stack(actor),
    }


def describe_sections(sections: Sections, now: float) -> dict[str, Any]:
    """Sections, edges and cycles as plain data."""

    def edges(waits: Iterable[Any]) -> list[dict[str, str]]:
        return [
            {
                "waiter": str(wait.waiter),
                "waiter_name": wait.waiter.name,
                "section": wait.section.name,
                "owner": str(wait.owner),
                "owner_name": wait.owner.name,
            }
            for wait in waits
        ]

    cycles = sections.cycles()
    return {
        "jammed": bool(cycles),
        "sections": [
            {
                "name": section.name,
                "rank": section.rank,
                "purpose": section.purpose,
                "owner": str(section.owner) if section.owner is not None else None,
                "owner_name": section.owner.name if section.owner is not None else None,
                "held_seconds": round(now - section.held_since, 3) if section.owner is not None else None,
                "waiters": [
                    {"actor": str(actor), "seconds": round(now - actor.waiting_since, 3)} for actor in section.waiters
                ],
                "entered": section.entered,
                "contended": section.contended,
            }
            for section in sections
        ],
        "waits": edges(sections.waits()),
        "cycles": [edges(cycle) for cycle in cycles],
    }


def actors_of(server: Server) -> list[Actor]:
    """Every actor of a running server that holds or waits for something, then the sessions."""
    found: dict[str, Actor] = {}
    for section in server.sections:
        for actor in (section.owner, *section.waiters):
            if actor is not None:
                found[actor.name] = actor
    for front_end in (*server.front_ends.values(), *server.mail_front_ends.values()):
        for actor in front_end.actors():
            found.setdefault(actor.name, actor)
    return list(found.values())


def advice(state: dict[str, Any]) -> list[str]:
    """What would free a jam, by its kind."""
    if state["cycles"]:
        names = sorted({edge["waiter_name"] for edge in state["cycles"][0]})
        return [
            f"ending one of {' or '.join(names)} would free the others (in the original: the end of the process)",
            "entering sections in the order of their ranks on every path makes it impossible: a build with the fix",
        ]
    waiting = {edge["waiter_name"] for edge in state["waits"]}
    return [
        f"{section['name']} is held by {section['owner']}, which waits for no section: "
        "it is busy, waits for a peer, was held on purpose, or has ended without leaving"
        for section in state["sections"]
        if (section["waiters"] or _is_held_long(section)) and section["owner_name"] not in waiting
    ]


def _is_held_long(section: dict[str, Any]) -> bool:
    return (section["held_seconds"] or 0.0) >= HELD_LONG_SECONDS


def describe_pools(pools: Iterable[ThreadPool]) -> list[dict[str, Any]]:
    """Pools of so many threads, where the build has them: who has a thread and who waits for one."""
    return [
        {
            "name": pool.name,
            "threads_max": pool.threads_max,
            "busy": [str(actor) for actor in pool.busy],
            "waiting": [str(actor) for actor, _ in pool.waiting],
        }
        for pool in pools
        if pool.threads_max is not None
    ]


def still_works(state: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What does not need the sections that are blocked, and what does."""
    blocked = {section["name"] for section in state["sections"] if section["waiters"] or _is_held_long(section)}
    if not blocked:
        return ["everything: nobody waits for a section"], []
    works = ["greeting, login, NOOP, CAPABILITY, listings and headers that were converted before"]
    works.append("SMTP takes messages into In, up to its limit (then 452)")
    return works, ["reading and delivering what needs conversion" if {"imail", "directory"} & blocked else "gateways"]


def snapshot(server: Server) -> dict[str, Any]:
    """The state of a server as one JSON value. Looks only; never waits."""
    now = server.scheduler.now()
    state = describe_sections(server.sections, now)
    state["build"] = server.build.number
    state["defects"] = sorted(server.build.defects)
    state["thread_pools"] = describe_pools(server.pools.values())
    state["actors"] = [describe_actor(actor, now) for actor in actors_of(server)]
    state["queues"] = server.queue_lengths()
    state["services"] = [
        {
            "name": service.name,
            "title": service.title,
            "state": service.state.value,
            "seconds": round(now - service.since, 1) if service.since else 0.0,
        }
        for service in server.control.services.values()
    ]
    state["order_violations"] = [
        {"kind": kind, "held": held, "wanted": wanted, "count": count}
        for (kind, held, wanted), count in sorted(server.sections.violations.items())
    ]
    state["works"], state["halts"] = still_works(state)
    state["frees"] = advice(state)
    return state


# --- a schedule of the explorer ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Standstill:
    """A schedule followed to its end, where everything is left as it stands."""

    scenario: Scenario
    schedule: Schedule
    state: dict[str, Any]
    steps: list[tuple[str, str]]
    """(actor, point), in order."""


def standstill(scenario: Scenario, schedule: Schedule) -> Standstill:
    """Follow a schedule in memory; whoever cannot go on then really waits for its section, and the graph is read.

    Raises DivergedError when the schedule does not fit the program.
    """
    steps = [(scenario.names[index], point) for index, point in scenario.operations(schedule)]
    world = scenario.world()
    execution = Execution(world.program)
    for index in schedule.order:
        execution.step(execution.started[index])
    _let_wait(execution, world)
    state = describe_sections(world.sections, 0.0)
    state["build"] = scenario.build
    state["defects"] = sorted(world.template.build.defects)
    state["actors"] = [describe_actor(actor, None) for actor in world.actors]
    held = {section: first + 1 for section, _, first, last in holdings(steps) if last is None}
    for section in state["sections"]:
        section["held_since_step"] = held.get(section["name"])
    state["queues"] = {"Queued Inbound": world.inbound.awaiting_conversion} if "inbound" in world.__dict__ else {}
    state["services"] = []
    state["works"], state["halts"] = still_works(state)
    state["frees"] = advice(state)
    execution.close()
    return Standstill(scenario, schedule, state, steps)


def _let_wait(execution: Execution, world: World) -> None:
    set_running(execution)
    for index, op in enumerate(execution.pending):
        if op is not None:
            execution.current = index
            execution.pending[index] = execution.sends[index](None)
    set_running(None)


def holdings(steps: Sequence[tuple[str, str]]) -> list[tuple[str, str, int, int | None]]:
    """(section, actor, first step, last step or None) of each time a section was held; steps count from 0."""
    open_: dict[str, tuple[str, int]] = {}
    found: list[tuple[str, str, int, int | None]] = []
    for number, (actor, point) in enumerate(steps):
        _, _, rest = point.partition(".")
        section, _, what = rest.partition(".")
        if what == "wanted" and section not in open_:
            open_[section] = (actor, number)
        elif what == "leaving" and section in open_:
            owner, since = open_.pop(section)
            found.append((section, owner, since, number))
    found += [(section, actor, since, None) for section, (actor, since) in open_.items()]
    return found


# --- text -------------------------------------------------------------------------------------------------------------


def owned(section: dict[str, Any]) -> str:
    """Who owns a section and since when: in seconds, or for a schedule since which step."""
    if not section["owner"]:
        return "free"
    if step := section.get("held_since_step"):
        return f"held since step {step} by {section['owner']}"
    return f"held {section['held_seconds']:.1f} s by {section['owner']}"


def text_lines(state: dict[str, Any], *, stacks: bool = True) -> list[str]:
    """A snapshot for a terminal."""
    verdict = "JAMMED" if state["jammed"] else "blocked" if state["waits"] else "not jammed"
    lines = [f"build {state['build']}: {verdict}"]
    for number, cycle in enumerate(state["cycles"], 1):
        lines.append(f"cycle {number}:")
        lines += [f"  {edge['waiter']}  --wants {edge['section']}-->  {edge['owner']}" for edge in cycle]
    behind = [edge for edge in state["waits"] if not any(edge in cycle for cycle in state["cycles"])]
    lines += [f"waits: {edge['waiter']} for {edge['section']}, held by {edge['owner']}" for edge in behind]
    lines.append("sections:")
    for section in state["sections"]:
        lines.append(f"  {section['rank']} {section['name']:10} {owned(section)}, {len(section['waiters'])} waiting")
    for pool in state.get("thread_pools", ()):
        lines.append(f"threads of the {pool['name']}: {len(pool['busy'])} of {pool['threads_max']} busy")
        lines += [f"  busy: {actor}" for actor in pool["busy"]]
        lines += [f"  waits for a thread: {actor}" for actor in pool["waiting"]]
    if state["actors"]:
        lines.append("actors:")
    for actor in state["actors"]:
        lines.append(f"  {actor['position']}")
        if stacks and actor["waiting_for"] is not None:
            lines += [f"      {frame}" for frame in actor["stack"][-STACK_LINES_MAX:]]
    lines += [f"queue: {name} {length}" for name, length in state["queues"].items() if length]
    lines += [f"service: {s['name']} {s['state']} for {s['seconds']:.0f} s" for s in state["services"]]
    lines += [f"works: {item}" for item in state["works"]]
    lines += [f"halts: {item}" for item in state["halts"]]
    lines += [f"would free it: {item}" for item in state["frees"]]
    return lines


# --- the command ------------------------------------------------------------------------------------------------------


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mailjam report` and `mailjam ps`."""
    from harness import ps  # noqa: PLC0415 - both use this module

    parser = subparsers.add_parser("report", help="explain a schedule: the graph, the actors, the timeline")
    parser.add_argument("token", metavar="TOKEN", nargs="?", help="(default: the shortest jam of q279798 on SP4)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the wait-for graph")
    parser.set_defaults(run=run)
    ps.add_parser(subparsers)


def default_schedule() -> tuple[Scenario, Schedule]:
    """The shortest jam of Q279798 on SP4."""
    from harness.explorer import Options, explore_scenario  # noqa: PLC0415 - only without a token

    scenario = Scenario("5.5.2653.23", ("smtp", "pop3"))
    finding = explore_scenario(scenario, Options(stop_at_jam=True, checks=False))
    assert finding.minimised is not None
    return scenario, finding.minimised.schedule


def run(arguments: argparse.Namespace) -> int:
    """0: explained; 2: not a token of ours, or the file cannot be written."""
    from harness import page  # noqa: PLC0415 - draws what this module finds

    try:
        if arguments.token:
            schedule = Schedule.parse(arguments.token)
            scenario = Scenario.parse(schedule.label)
        else:
            scenario, schedule = default_schedule()
        still = standstill(scenario, schedule)
    except (TokenError, UnknownScenario) as error:
        print(f"mailjam: {error}", file=sys.stderr)
        return 2
    except DivergedError as error:
        print(f"mailjam: the token is of another version of this program: {error}", file=sys.stderr)
        return 2
    for path, text in (
        (arguments.html, page.html(still) if arguments.html else ""),
        (arguments.svg, page.graph_svg(still.state) if arguments.svg else ""),
    ):
        if path:
            try:
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                print(f"mailjam report: {path}: {error.strerror or error}", file=sys.stderr)
                return 2
            print(f"written: {path}")
    if not arguments.html and not arguments.svg:
        print("\n".join([f"schedule {schedule.token}", *text_lines(still.state)]))
    return 0


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each actor, distinguishable also without red and green."""
    palette = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#8c564b")
    return {name: palette[number % len(palette)] for number, name in enumerate(names)}
