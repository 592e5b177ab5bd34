"""Gateways by one line of text: `DOMAIN=maildir:DIR`, `DOMAIN=webhook:URL`, `DOMAIN=process:COMMAND`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from emulator.config import SettingsError
from emulator.mts import MessageTransferStub
from emulator.scheduling import Scheduler
from protocols.actor import Actor
from protocols.ports import Clock

from .maildir import MaildirConnector
from .process import ProcessConnector
from .webhook import WebhookConnector

FORM: Final = (
    "write DOMAIN=maildir:DIR, DOMAIN=webhook:URL, DOMAIN=webhook:PORT:URL (mail posted to PORT comes in) "
    "or DOMAIN=process:COMMAND"
)


def parse_gateway(text: str) -> tuple[MaildirConnector | WebhookConnector | ProcessConnector, int | None]:
    """The connector, named after its domain, and the port it listens on or None. Raises SettingsError with the fix."""
    domain, equals, rest = text.partition("=")
    kind, colon, place = rest.partition(":")
    domain = domain.strip().lower()
    if not (domain and equals and colon and place) or " " in domain or "@" in domain:
        raise SettingsError(f"gateway {text!r}: {FORM}")
    if kind == "maildir":
        try:
            return MaildirConnector(domain, [domain], Path(place) / "out", Path(place) / "in"), None
        except OSError as error:
            raise SettingsError(f"gateway {domain}: {place}: {error.strerror}; name a folder to write to") from None
    if kind == "webhook":
        head, _, url = place.partition(":")
        port = int(head) if head.isascii() and head.isdigit() and len(head) <= 5 else None
        url = place if port is None else url
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname or (port or 0) > 65535:
            raise SettingsError(f"gateway {text!r}: {FORM}")
        return WebhookConnector(domain, [domain], url), port
    if kind == "process":
        try:
            command = shlex.split(place)
        except ValueError as error:
            raise SettingsError(f"gateway {domain}: {error} in the command; quote it as a shell would") from None
        if command:
            return ProcessConnector(domain, [domain], command), None
    raise SettingsError(f"gateway {text!r}: {FORM}")


async def log_on(
    texts: tuple[str, ...], mts: MessageTransferStub, scheduler: Scheduler, clock: Clock, host: str
) -> None:
    """Log the gateways on, and let them watch or listen. Raises SettingsError with the fix."""
    for text in texts:
        connector, port = parse_gateway(text)
        try:
            gateway = mts.log_on(connector)
        except ValueError:
            raise SettingsError(f"gateway {text!r}: {connector.name} has a gateway already; one is enough") from None
        if isinstance(connector, MaildirConnector):
            actor = Actor("gateway-watch", doing=connector.name)
            scheduler.spawn(actor, connector.watch(mts, clock))
        elif isinstance(connector, WebhookConnector) and port is not None:
            try:
                listener = await connector.listen(mts, host, port)
            except OSError as error:
                raise SettingsError(f"gateway {text!r}: port {port}: {error.strerror}; choose another") from None
            gateway.closers.append(listener.close)
