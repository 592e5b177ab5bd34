"""Outbound conversion: property message → MIME (MS-OXCMAIL section 2.2)."""

from __future__ import annotations

from emulator.properties import PropertyMessage

from .content_writer import content_entity
from .header_writer import header_fields
from .mime_writer import Allow, join_fields


def outbound(message: PropertyMessage, *, allow: Allow = Allow.SEVEN_BIT, tnef: bool = True) -> bytes:
    """The message as MIME. Never raises for a message that `inbound` made, whatever was set in it since.

    Where nothing was changed these are the original octets, the very same object, whatever `allow` says. Otherwise MIME
    is generated, the same octets for the same properties: 7-bit lines of at most 998 octets unless `allow` says more.
    `tnef`: whether properties that MIME cannot carry travel in a winmail.dat beside the text; else they stay behind.
    """
    original = message.original
    if original is not None and not message.modified:
        return original
    entity = content_entity(message, allow, tnef=tnef)
    pieces = entity.render()
    header = join_fields(header_fields(message, entity.content_fields(), allow))
    return b"".join([header, b"\r\n", *pieces])
