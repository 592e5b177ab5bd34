"""A registration: an address is believed once the link that was mailed to it has been opened."""

from __future__ import annotations

import secrets
import smtplib
from email.message import EmailMessage
from urllib.parse import parse_qs, urlsplit


class Signup:
    """Accounts that wait for their confirmation, and those that have it."""

    def __init__(self, smtp: tuple[str, int]) -> None:
        self._smtp = smtp
        self._waiting: dict[str, str] = {}
        self.confirmed: set[str] = set()

    def register(self, address: str) -> None:
        """Mail a link. Raises smtplib.SMTPException when the mail could not be handed over; then nothing waits."""
        token = secrets.token_urlsafe(16)
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "shop@example.org", address, "Confirm your address"
        message.set_content(f"Welcome!\n\nOpen https://shop.example/confirm?token={token} to confirm.\n")
        with smtplib.SMTP(*self._smtp, timeout=10) as client:
            client.send_message(message)
        self._waiting[token] = address

    def open(self, link: str) -> bool:
        """The link was opened; whether it was one of ours."""
        (token,) = parse_qs(urlsplit(link).query).get("token", [""])
        address = self._waiting.pop(token, None)
        if address is not None:
            self.confirmed.add(address)
        return address is not None
