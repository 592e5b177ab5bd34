"""Outcomes and findings as text for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .reproduce import Outcome
from .watcher import Jam


def jam_lines(jam: Jam, stacks: dict[str, list[str]]) -> list[str]:
    """Who holds what, who waits for whom, and where each stands."""
    lines = ["the wait-for graph has a cycle:"]
    for edge in jam.cycle:
        holds = [other.section for other in jam.cycle if other.owner == edge.waiter]
        lines.append(f"  {edge.waiter}")
        lines.append(f"      holds {', '.join(holds) or 'nothing'}, waits for {edge.section}, held by {edge.owner}")
        lines.extend(f"        {frame}" for frame in stacks.get(edge.waiter, []))
    lines.append(f"named {jam.seconds_after_closing * 1000:.1f} ms after the cycle closed")
    return lines


def symptom_lines(outcome: Outcome) -> list[str]:
    """Queues, what still answers, and the stop."""
    lines = ["queues before and after five more messages:"]
    for name, after in outcome.queues_after.items():
        lines.append(f"  {name:16} {outcome.queues_before.get(name, 0):3} → {after:3}")
    lines.append("probes:")
    lines.extend(f"  {probe}" for probe in outcome.probes)
    states = ", ".join(f"{name}: {state}" for name, state in outcome.stop_states.items())
    ended = "ended" if outcome.stop_ended else "did not end"
    lines.append(f"service stop {ended} within {outcome.stop_seconds:.1f} s ({states})")
    return lines


def outcome_lines(outcome: Outcome) -> list[str]:
    """All of one run."""
    lines = [f"{outcome.build}: {outcome.inbound} in, {outcome.outbound} out: {outcome.verdict}"]
    if outcome.jam is not None:
        lines.extend(jam_lines(outcome.jam, outcome.stacks))
    if outcome.probes:
        lines.extend(symptom_lines(outcome))
    return lines


def table(rows: Sequence[Sequence[Any]], heads: Sequence[str]) -> list[str]:
    """A table with aligned columns."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(head), *(len(row[i]) for row in texts)) if texts else len(head) for i, head in enumerate(heads)]
    lines = ["  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip()]
    lines.append("  ".join("-" * width for width in widths))
    lines.extend("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in texts)
    return lines


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """One run as JSON values."""
    jam = outcome.jam
    return {
        "build": outcome.build,
        "inbound": outcome.inbound,
        "outbound": outcome.outbound,
        "verdict": outcome.verdict,
        "seconds": outcome.seconds,
        "cycle": [
            {"waiter": edge.waiter, "section": edge.section, "owner": edge.owner} for edge in (jam.cycle if jam else ())
        ],
        "stacks": outcome.stacks,
        "queues": outcome.queues_after,
        "probes": {probe.protocol: dict(probe.stages) for probe in outcome.probes},
        "stop_ended": outcome.stop_ended,
        "services": outcome.stop_states,
    }


def print_lines(lines: Iterable[str]) -> None:
    """To standard output, at once."""
    for line in lines:
        print(line, flush=True)
