"""What a scenario of the Knowledge Base is: frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Scenario:
    """One documented hang, when it happens and what is seen."""

    name: str
    kb: str
    title: str
    defect: str
    """Name of the defect in `emulator.builds.DEFECTS`."""
    defective_build: str
    """A build that has the defect; empty: no build of 5.5 has it, `--defect` switches it on."""
    patched_build: str
    trigger: str
    """What has to cross the wire."""
    symptoms: tuple[str, ...]
    """What is seen then, in the words of the article."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the server's settings that the scenario needs, and arguments of its stage."""
