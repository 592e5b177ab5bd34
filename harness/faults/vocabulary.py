"""Names that a fault or a gate may use: the commands of each protocol, the points of the conversion.

Misspelt ones would never strike, so they are refused when they are written, with what was meant.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from typing import Any

from emulator import converter, poison
from emulator.builds import ORDERS
from emulator.scheduling import Point
from emulator.server import SECTION_PURPOSES
from protocols.imap.session import ImapSession
from protocols.nntp import NntpSession
from protocols.pop3 import Pop3Session
from protocols.smtp.session import SmtpSession

from .model import CONNECT, Fault, FaultError, close_to, matching_protocols


@cache
def commands() -> dict[str, frozenset[str]]:
    """The commands of each protocol, `CONNECT` among them."""
    sessions: dict[str, Any] = {"smtp": SmtpSession, "pop3": Pop3Session, "imap": ImapSession, "nntp": NntpSession}
    return {name: frozenset({CONNECT, *(each.verb for each in kind.commands)}) for name, kind in sessions.items()}


@cache
def points() -> frozenset[str]:
    """All points at which an actor can be held: stages of the conversion, and around each section of each path."""
    values = (*vars(converter).values(), *vars(poison).values())
    stages = {value.name for value in values if isinstance(value, Point)}
    around = product(ORDERS, SECTION_PURPOSES, ("wanted", "held", "leaving"))
    return frozenset(stages | {".".join(words) for words in around})


def check_point(pattern: str) -> None:
    """Raises FaultError for a point that no actor reaches."""
    if not any(fnmatchcase(name, pattern) for name in points()):
        raise FaultError(f"no point {pattern!r}: {close_to(pattern, sorted(points()))}")


def check_names(fault: Fault) -> None:
    """Raises FaultError for a command or point that does not exist, and so would never be struck."""
    if "." in fault.stage:
        check_point(fault.stage)
    protocols, command = matching_protocols(fault.protocol), fault.command.upper()
    known = {name for protocol in protocols for name in commands()[protocol]}
    if any(fnmatchcase(name, command) for name in known):
        return
    having = [protocol for protocol, names in commands().items() if command in names]
    meant = f"{', '.join(having)} has it" if having else close_to(command, sorted(known))
    who = f"{fault.protocol} has no" if fault.protocol in protocols else "no protocol has a"
    raise FaultError(f"{who} command {fault.command!r}: {meant}")
