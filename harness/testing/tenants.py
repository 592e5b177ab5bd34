"""Tenants: several suites or people on one server, kept apart by the domain of their addresses."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,98}[A-Za-z0-9])?")


def domain_of(tenant: str) -> str:
    """`shop` has the domain `shop.test` (RFC 2606); `shop.example` is one already. Raises ValueError."""
    if _NAME.fullmatch(tenant) is None:
        raise ValueError(f"tenant {tenant!r}: use letters, digits, dots and hyphens, as in --tenant shop")
    return tenant.lower() if "." in tenant else f"{tenant.lower()}.test"


def in_tenant(recipients: tuple[str, ...], tenant: str) -> bool:
    """Whether a message went to an address of the tenant; an ill-formed name has none."""
    try:
        domain = domain_of(tenant)
    except ValueError:
        return False
    return any(recipient.rpartition("@")[2] == domain or recipient == tenant.lower() for recipient in recipients)
