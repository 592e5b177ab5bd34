"""Collects new mail over IMAP and goes on after a hang, a lost connection, a new UIDVALIDITY."""

from __future__ import annotations

import email
from email.policy import default

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError


class Reader:
    """Remembers up to which UID it has read, and in which UIDVALIDITY."""

    def __init__(self, address: tuple[str, int], user: str, password: str, *, seconds_max: float = 5.0) -> None:
        self._address = address
        self._login = (user, password)
        self._seconds_max = seconds_max
        self._validity = 0
        self._last = 0
        self.subjects: list[str] = []
        self.failures = 0

    def collect(self) -> int:
        """Read what is new: how many. A server that does not answer is a failure that is counted, not an error."""
        before = len(self.subjects)
        try:
            with IMAPClient(*self._address, ssl=False, timeout=self._seconds_max) as client:
                client.login(*self._login)
                self._read(client)
        except (OSError, IMAPClientError):
            self.failures += 1
        return len(self.subjects) - before

    def _read(self, client: IMAPClient) -> None:
        selected = client.select_folder("INBOX", readonly=True)
        validity = int(selected[b"UIDVALIDITY"])
        if validity != self._validity:  # RFC 9051 section 2.3.1.1: what was remembered means nothing now
            self._validity, self._last = validity, 0
        for uid in client.search(["UID", f"{self._last + 1}:*"]):
            if uid <= self._last:  # `n:*` names the last message even where n is beyond it
                continue
            octets = client.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"]
            self.subjects.append(email.message_from_bytes(octets, policy=default)["Subject"])
            self._last = uid
