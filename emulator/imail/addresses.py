"""Mail addresses as properties: display name, address type, address and one-off entry identifier."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from emulator.properties import Recipient
from emulator.property_tags import (
    PR_ADDRTYPE,
    PR_DISPLAY_NAME,
    PR_EMAIL_ADDRESS,
    PR_RECIPIENT_TYPE,
    PR_ROWID,
    PR_SMTP_ADDRESS,
)
from protocols.mime.address import parse_addresses, quote
from protocols.mime.charsets import decode_text
from protocols.mime.words import decode_words

ONE_OFF_UID: Final = UUID("a41f2b81-a3be-1910-9d6e-00dd010f5402")
_TO_BE_QUOTED: Final = re.compile(rb"[\x00-\x20(),:;<>@\[\]\\\"]")
_ONE_OFF_MIME_UNICODE: Final = 0x9001_0000
_ONE_OFF_FIXED: Final = bytes(4) + ONE_OFF_UID.bytes + bytes(2)


def one_off_entry_id(name: str, email: str, address_type: str = "SMTP") -> bytes:
    """One-off EntryID with Unicode strings (MS-OXCDATA section 2.2.5.1)."""
    strings = f"{name}\0{address_type}\0{email}\0".encode("utf-16-le", "surrogatepass")
    return _ONE_OFF_FIXED + (_ONE_OFF_MIME_UNICODE >> 16).to_bytes(2, "little") + strings


def read_one_off(entry_id: bytes) -> tuple[str, str, str] | None:
    """(name, address type, address) of a one-off EntryID, or None."""
    if len(entry_id) < 24 or entry_id[4:20] != ONE_OFF_UID.bytes:
        return None
    flags = int.from_bytes(entry_id[22:24], "little")
    parts = entry_id[24:].decode("utf-16-le" if flags & 0x8000 else "cp1252", "replace").split("\0")
    return (parts[0], parts[1], parts[2]) if len(parts) >= 3 else None


def flat_entry_list(entries: list[bytes]) -> bytes:
    """FlatEntryList of entry identifiers (MS-OXCDATA section 2.3.3)."""
    body = bytearray()
    for entry in entries:
        body += len(entry).to_bytes(4, "little") + entry
        body += bytes(-len(entry) % 4)
    return len(entries).to_bytes(4, "little") + len(body).to_bytes(4, "little") + bytes(body)


def read_flat_entry_list(value: bytes) -> list[bytes]:
    """Entry identifiers of a FlatEntryList; stops where it is damaged."""
    found: list[bytes] = []
    position = 8
    for _ in range(min(int.from_bytes(value[:4], "little"), len(value))):
        size = int.from_bytes(value[position : position + 4], "little")
        entry = value[position + 4 : position + 4 + size]
        if not size or len(entry) != size:
            break
        found.append(entry)
        position += 4 + size + -size % 4
    return found


def mailboxes(value: bytes | None, addresses_max: int) -> list[tuple[str, str]]:
    """(name, address) of all mailboxes of a field, groups opened."""
    if not value:
        return []
    found: list[tuple[str, str]] = []
    for name, _, mailbox, host in parse_addresses(value, addresses_max):
        if host is None:
            continue
        octets = mailbox or b""
        if host:
            # `"a b"@host`, as SMTP wants it
            octets = b"%b@%b" % (quote(octets) if _TO_BE_QUOTED.search(octets) else octets, host)
        email = octets.decode() if octets.isascii() else decode_text(octets)
        label = email if name is None else decode_words(name).strip() or email
        if label:
            found.append((label, email))
    return found


def recipient(name: str, email: str, kind: int, row: int) -> Recipient:
    """A row of the recipients table."""
    return Recipient(
        {
            PR_ROWID: row,
            PR_RECIPIENT_TYPE: kind,
            PR_DISPLAY_NAME: name,
            PR_ADDRTYPE: "SMTP",
            PR_EMAIL_ADDRESS: email,
            PR_SMTP_ADDRESS: email,
        }
    )
