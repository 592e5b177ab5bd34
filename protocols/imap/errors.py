"""Refusals of IMAP commands: the condition (NO or BAD), the response code (RFC 9051 section 7.1) and the text."""

from __future__ import annotations

from protocols.ports import (
    AlreadyExists,
    InUse,
    NoSuchMailbox,
    NoSuchMessage,
    NotPermitted,
    OverQuota,
    PortError,
    Rejected,
    Unavailable,
)
from protocols.registry import SyntaxProblem


class No(PortError):
    """The command is refused: `tag NO [code] text`."""

    def __init__(self, text: str, *, code: bytes = b"") -> None:
        super().__init__(text)
        self.code = code


class Bad(SyntaxProblem):
    """The command has no right syntax: `tag BAD [code] text`."""

    def __init__(self, text: str, *, code: bytes = b"") -> None:
        super().__init__(text)
        self.code = code


CODES: dict[type[PortError], bytes] = {
    NoSuchMailbox: b"NONEXISTENT",
    AlreadyExists: b"ALREADYEXISTS",
    NotPermitted: b"NOPERM",
    NoSuchMessage: b"EXPUNGEISSUED",
    OverQuota: b"OVERQUOTA",
    InUse: b"INUSE",
    Unavailable: b"UNAVAILABLE",
    Rejected: b"CANNOT",
}
"""Errors of ports as response codes (RFC 5530, RFC 9208 section 4.3)."""


def code_of(error: PortError) -> bytes:
    """The response code that tells the client what went wrong."""
    if isinstance(error, No):
        return error.code
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), b"SERVERBUG")
