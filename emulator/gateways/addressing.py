"""Which addresses a connector takes, and for whom a message is that came without an envelope."""

from __future__ import annotations

from collections.abc import Iterable

from emulator.properties import MAPI_BCC, MAPI_CC, MAPI_TO, PropertyMessage
from emulator.property_tags import PR_SENDER_EMAIL_ADDRESS

RECIPIENTS_MAX = 1000


def domain_of(address: str) -> str:
    """The domain of an address, lower case; "" where it has none."""
    return address.rpartition("@")[2].lower() if "@" in address else ""


def takes_domain(domains: Iterable[str], address: str) -> bool:
    """Whether the address is in one of the domains or below it."""
    domain = domain_of(address)
    return any(domain == wanted or domain.endswith("." + wanted) for wanted in map(str.lower, domains))


def envelope_of(message: PropertyMessage) -> tuple[str, list[str]]:
    """(sender, recipients) as the properties say: for messages that come as files."""
    sender = str(message.get(PR_SENDER_EMAIL_ADDRESS, ""))
    rows = [row.email for row in message.recipients if row.type in {MAPI_TO, MAPI_CC, MAPI_BCC} and row.email]
    return sender, list(dict.fromkeys(rows))[:RECIPIENTS_MAX]
