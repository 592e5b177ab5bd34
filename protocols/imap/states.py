"""The states of an IMAP dialogue (RFC 9051 section 3) and the registry of its commands."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from protocols.registry import Registry

if TYPE_CHECKING:
    from .session import ImapSession


class State(Enum):
    """Where a dialogue stands. Logout is the end of it and no state in which commands are taken."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"


ANY = frozenset(State)
NOT_AUTHENTICATED = frozenset({State.NOT_AUTHENTICATED})
AUTHENTICATED = frozenset({State.AUTHENTICATED, State.SELECTED})
SELECTED = frozenset({State.SELECTED})

COMMANDS: Registry[ImapSession] = Registry()
"""All commands; the modules of this package register theirs, and `protocols.imap` imports them all."""
