"""Fault scripts: what goes wrong, where, and how often. Deterministic, counted, scoped, recorded."""

from .model import Fault, FaultError

__all__ = ["Fault", "FaultError"]
