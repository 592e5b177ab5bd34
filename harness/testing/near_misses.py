"""What to say when the awaited message did not come: what came instead, what went to BAD, who hangs, what was said."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emulator.sections import describe_cycle

from .archive import Entry
from .view import MessageView

if TYPE_CHECKING:
    from harness.workbench import Workbench

MESSAGES_SHOWN = 5
SESSIONS_SHOWN = 3
LINES_SHOWN = 24
Misfits = Callable[[Entry, MessageView], list[str]]


async def near_misses(
    workbench: Workbench,
    wanted: str,
    seconds: float,
    *,
    after: int = 0,
    sessions_after: int = 0,
    misfits: Misfits | None = None,
) -> str:
    """Some lines: the first names what was awaited, the others why it may not have come."""
    lines = [f"no message within {seconds:g} s: {wanted}"]
    entries = [entry for entry in workbench.archive.since(after) if entry.messages]
    ranked = []
    for entry in entries[-200:]:
        view = await workbench.archive.view(entry)
        wrong = misfits(entry, view) if misfits is not None else []
        ranked.append((len(wrong), -entry.number, view, wrong))
    ranked.sort(key=lambda item: item[:2])
    if not ranked:
        lines.append("nothing came in meanwhile")
    for _, _, view, wrong in ranked[:MESSAGES_SHOWN]:
        reason = f" — {'; '.join(wrong)}" if wrong else ""
        lines.append(f"near: {view!r} in {', '.join(view.recipients)}{reason}")
    if len(entries) > MESSAGES_SHOWN:
        lines.append(f"… and {len(entries) - MESSAGES_SHOWN} more")
    lines += [f"BAD: {bad.spool_name}: {bad.reason}" for bad in workbench.archive.bad[-MESSAGES_SHOWN:]]
    lines += state_lines(workbench)
    for transcript in workbench.transcripts.since(sessions_after)[-SESSIONS_SHOWN:]:
        said = transcript.brief()
        cut = [f"  … {len(said) - LINES_SHOWN} lines before"] if len(said) > LINES_SHOWN else []
        lines += [f"{transcript.actor} from {transcript.peer}:", *cut, *(f"  {line}" for line in said[-LINES_SHOWN:])]
    return "\n".join(lines)


def state_lines(workbench: Workbench) -> list[str]:
    """The wait-for graph, queues and held sections, as far as there is anything to say."""
    server = workbench.server
    lines = []
    for cycle in server.sections.cycles():
        lines += ["jammed:", *(f"  {line}" for line in describe_cycle(cycle))]
    if not lines:
        lines += [str(wait) for wait in server.sections.waits()]
    lines += [f"{section.owner} holds {section.name}" for section in server.sections if section.owner is not None]
    lines += [f"{name}: {length}" for name, length in server.queue_lengths().items() if length]
    lines += [f"{name} is {state}" for name, state in server.states().items() if state != "running"]
    return lines
