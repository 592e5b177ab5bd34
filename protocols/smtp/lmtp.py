"""LMTP (RFC 2033): SMTP's dialogue with LHLO, and one reply for each recipient behind the message."""

from __future__ import annotations

from typing import ClassVar

from protocols.registry import Registry
from protocols.reply import Reply

from . import commands
from .grammar import helo_name
from .session import ANY_STATE, Registered, SmtpSession

_NOT_IN_LMTP = frozenset({"HELO", "EHLO", "ETRN"})
"""RFC 2033 section 4.1: these must not be there."""


def _registry() -> Registered:
    registry: Registered = Registry()
    for known in SmtpSession.commands:
        if known.verb not in _NOT_IN_LMTP:
            registry.command(
                known.verb,
                states=known.states,
                syntax=known.syntax,
                usage=known.usage,
                capability=known.capability,
            )(known.handler)
    registry.command("LHLO", states=ANY_STATE, syntax=helo_name, usage="LHLO domain")(commands.ehlo)
    return registry


class LmtpSession(SmtpSession):
    """One dialogue with one LMTP client."""

    protocol: ClassVar[str] = "lmtp"
    commands: ClassVar[Registered] = _registry()
    greeting_verbs: ClassVar[tuple[str, ...]] = ("LHLO",)

    def greeting(self) -> Reply:
        return self.reply(220, "", f"{self.settings.hostname} LMTP mailjam {self.settings.version} ready")

    async def accept_message(self, octets: bytes) -> Reply:
        """RFC 2033 section 4.2: a reply for each RCPT that was accepted, in their order."""
        assert self.transaction is not None
        recipients = self.transaction.recipients
        name = await self.submit(octets)
        return b"".join(self.reply(250, "2.1.5", f"<{address}> OK: queued as {name}") for address in recipients)

    def message_refused(self, reply: bytes) -> Reply:
        assert self.transaction is not None
        return reply * len(self.transaction.recipients)
