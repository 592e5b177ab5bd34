"""Outbound conversion: property message → MIME (MS-OXCMAIL section 2.2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.properties import PropertyMessage


def outbound(message: PropertyMessage) -> bytes:
    """The message as MIME: the original octets, the very same object, where nothing was changed."""
    original = message.original
    if original is not None and not message.modified:
        return original
    raise NotImplementedError
