"""What a scenario of the Knowledge Base is: frozen data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """One documented hang, when it happens and what is seen."""

    name: str
    kb: str
    title: str
    defect: str
    """Name of the defect in `emulator.builds.DEFECTS`."""
    defective_build: str
    patched_build: str
    trigger: str
    """What has to cross the wire."""
    symptoms: tuple[str, ...]
    """What is seen then, in the words of the article."""
