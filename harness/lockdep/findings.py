"""A finding of the observer, as one readable block and as plain data."""

from __future__ import annotations

import linecache
from dataclasses import dataclass, field
from typing import Any

from harness.lockdep.model import Site


@dataclass(frozen=True, slots=True)
class Participant:
    """One actor of a finding: what it holds (lock, place), what it waits for, and its stack, innermost first."""

    actor: str
    holds: tuple[tuple[str, Site], ...]
    wants: str
    stack: tuple[Site, ...]


@dataclass(slots=True)
class Finding:
    """`kind`: jam (it stands still now), leak (ended while holding), order (it could jam).

    `verdict`: for an order `feasible` (somebody can be suspended between the two acquisitions), `latent` (nobody can,
    as the code stands) or `by-class` (only other instances of the same classes); for a jam `stuck`, or `resolved` when
    a timeout or cancellation broke it; for a leak `leaked`.
    `confirmation`: CONFIRMED, REFUTED or UNDECIDED once somebody tried, else empty.
    """

    kind: str
    verdict: str
    summary: str
    participants: tuple[Participant, ...]
    locks: tuple[str, ...] = ()
    confirmation: str = ""
    evidence: str = ""
    signature: tuple[Any, ...] = field(default=(), repr=False)

    @property
    def fails(self) -> bool:
        """Is it a defect that a test should fail for? Latent ones and resolved jams are told, not failed."""
        return self.verdict in ("stuck", "leaked", "feasible") and self.confirmation != "REFUTED"

    def text(self) -> str:
        """The block, without a newline at its end."""
        head = f"lockdep: {self.kind} ({self.verdict}{', ' + self.confirmation if self.confirmation else ''})"
        lines = [f"{head}: {self.summary}"]
        for participant in self.participants:
            lines.append(f"  {participant.actor}")
            lines.extend(f"    holds  {lock}\n           taken at {at}" for lock, at in participant.holds)
            if participant.wants:
                lines.append(f"    wants  {participant.wants}")
            for number, site in enumerate(participant.stack):
                lines.append(f"    {'at    ' if number == 0 else 'from  '} {site}")
                source = linecache.getline(site.file, site.line).strip()
                if source and number < 2:
                    lines.append(f"             {source}")
        if self.evidence:
            lines.append(f"  {self.evidence}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "kind": self.kind,
            "verdict": self.verdict,
            "fails": self.fails,
            "summary": self.summary,
            "confirmation": self.confirmation or None,
            "evidence": self.evidence or None,
            "locks": list(self.locks),
            "participants": [
                {
                    "actor": participant.actor,
                    "holds": [{"lock": lock, "taken_at": str(at)} for lock, at in participant.holds],
                    "wants": participant.wants,
                    "stack": [str(site) for site in participant.stack],
                }
                for participant in self.participants
            ],
        }
