"""An outbox that tries again (aiosmtplib): what was refused for now stays, what was taken is forgotten."""

from __future__ import annotations

from email.message import EmailMessage

import aiosmtplib


class Outbox:
    """Messages on their way."""

    def __init__(self, address: tuple[str, int], *, seconds_max: float = 5.0) -> None:
        self._address = address
        self._seconds_max = seconds_max
        self.waiting: list[EmailMessage] = []
        self.refused: list[tuple[EmailMessage, str]] = []

    def add(self, message: EmailMessage) -> None:
        """Queue it."""
        self.waiting.append(message)

    async def flush(self) -> int:
        """Try every message once: how many were taken."""
        host, port = self._address
        taken = 0
        for message in tuple(self.waiting):
            try:
                await aiosmtplib.send(message, hostname=host, port=port, timeout=self._seconds_max, start_tls=False)
            except aiosmtplib.SMTPRecipientsRefused as refusal:
                if all(500 <= one.code < 600 for one in refusal.recipients):
                    self.waiting.remove(message)
                    self.refused.append((message, str(refusal)))
            except aiosmtplib.SMTPResponseException as problem:
                if 500 <= problem.code < 600:
                    self.waiting.remove(message)
                    self.refused.append((message, problem.message))
            except (OSError, aiosmtplib.SMTPException):
                continue
            else:
                self.waiting.remove(message)
                taken += 1
        return taken
