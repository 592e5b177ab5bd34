"""The content of a message: one object for all its copies, found by digest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .properties import PropertyMessage


def digest_of(octets: bytes) -> bytes:
    """The name of a content: BLAKE2b, 20 octets."""
    return hashlib.blake2b(octets, digest_size=20).digest()


class Content:
    """Octets that went in and come out again, octet for octet."""

    __slots__ = ("_message_id", "derived", "digest", "message", "references", "row", "size")

    def __init__(
        self, digest: bytes, size: int, message: PropertyMessage | None = None, message_id: bytes | None = None
    ) -> None:
        """`message_id`: where it is known; otherwise it is looked for in the message when it is asked for."""
        self.digest = digest
        self.size = size
        """Octets of the message as MIME (RFC822.SIZE)."""
        self.message = message
        """The property message where it is in memory; a durable backend may drop and reload it."""
        self._message_id = message_id
        self.derived: dict[str, Any] = {}
        """What front-ends computed from the octets (`imap.envelope`); may be dropped at any time."""
        self.references = 0
        """How many messages have this content, those on their way to disk included; at 0 it is forgotten."""
        self.row = 0
        """Where a durable backend has it; 0: nowhere."""

    @property
    def message_id(self) -> bytes:
        """The Message-ID with its angle brackets, b"" where there is none: newsgroups find articles by it."""
        if self._message_id is None:
            found = self.message.structure.headers.get(b"Message-ID") if self.message is not None else None
            self._message_id = (found or b"").strip()
        return self._message_id

    def __repr__(self) -> str:
        return f"<Content {self.digest.hex()[:8]} {self.size} octets>"
