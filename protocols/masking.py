"""Dialogue for people without its secrets: what a client said, line by line, passwords and SASL responses as `***`.

A transcript outlives the session and is shown to others, so a masker rather hides too much: while a SASL exchange
runs every line of the client is hidden, whatever it says.
"""

from __future__ import annotations

import re

MASK = b"***"
LINE_OCTETS_MAX = 8192
"""Of a longer line the beginning is shown."""

_COMMANDS: dict[str, re.Pattern[bytes]] = {
    "smtp": re.compile(rb"(?is)(\s*AUTH\s+\S+)(\s+\S.*)?"),
    "pop3": re.compile(rb"(?is)(\s*(?:PASS|APOP\s+\S+|AUTH\s+\S+))(\s+\S.*)?"),
    "imap": re.compile(rb'(?is)(\s*\S+\s+(?:AUTHENTICATE\s+\S+|LOGIN\s+(?:"(?:[^"\\]|\\.)*"|[^\s"]+)?))(\s*\S.*)?'),
    "nntp": re.compile(rb"(?is)(\s*AUTHINFO\s+(?:PASS|SASL\s+\S+|GENERIC))(\s+\S.*)?"),
}
_COMMANDS["lmtp"] = _COMMANDS["smtp"]
"""What is shown of a command with a secret, and the secret."""
_EXCHANGE = re.compile(rb"(?i)\s*(?:\S+\s+)?(?:AUTH|AUTHENTICATE|AUTHINFO\s+SASL)\s+\S")
"""A command that begins a SASL exchange; of IMAP4 with a tag before it."""
_CHALLENGES = {"smtp": b"334", "lmtp": b"334", "pop3": b"+ ", "nntp": b"383", "imap": b"+"}
_CONTENT = {"smtp": (b"354",), "lmtp": (b"354",), "nntp": (b"335", b"340")}
"""Replies after which the client sends a message, up to a line that is a lone dot."""
_LITERAL = re.compile(rb"\{(\d{1,19})\+?\}$")


class Masker:
    """Cuts one session's octets into lines to show. Pieces have to come in the order in which they were said."""

    def __init__(self, protocol: str) -> None:
        """`protocol`: `smtp`, `lmtp`, `pop3`, `imap` or `nntp`. Of others nothing is a secret."""
        self._protocol = protocol
        self._command = _COMMANDS.get(protocol)
        self._content_replies = _CONTENT.get(protocol)
        self._challenge = _CHALLENGES.get(protocol)
        self._partial = {"C": b"", "S": b""}
        self._overlong = {"C": False, "S": False}
        self._exchange = False
        """Whether the client's lines are responses of a SASL exchange."""
        self._in_content = False
        """Whether the client's lines are those of a message."""
        self._tag = b""
        self._secret_literal = 0
        """Octets of an IMAP4 literal that are still to come and are a secret."""
        self._in_login = False
        """Whether the line is the rest of a command with a literal secret."""

    def lines(self, side: str, octets: bytes) -> list[bytes]:
        """What `side` (`C` or `S`) said, as lines without their ends; what is not a whole line yet is kept."""
        found: list[bytes] = []
        if side == "C" and self._secret_literal:
            octets = self._skip_literal(octets, found)
        data = self._partial[side] + octets
        self._partial[side] = b""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line, start = data[start:end], end + 1
            if self._overlong[side]:
                self._overlong[side] = False
                continue
            found.append(self._line(side, line[:-1]) if line.endswith(b"\r") else self._line(side, line) + b"\\n")
            if side == "C" and self._secret_literal:
                data, start = self._skip_literal(data[start:], found), 0
        rest = data[start:]
        if self._overlong[side]:
            return found
        if len(rest) > LINE_OCTETS_MAX:
            found.append(self._line(side, rest))
            self._overlong[side] = True
        else:
            self._partial[side] = rest
        return found

    def rest(self, side: str) -> list[bytes]:
        """What was said without the end of a line: at the end of a session, or before something that is left out."""
        rest, self._partial[side] = self._partial[side], b""
        return [self._line(side, rest)] if rest else []

    def _skip_literal(self, octets: bytes, found: list[bytes]) -> bytes:
        count = min(self._secret_literal, len(octets))
        self._secret_literal -= count
        if not self._secret_literal:
            found.append(MASK)
        return octets[count:]

    def _line(self, side: str, line: bytes) -> bytes:
        shown = self._client_line(line) if side == "C" else self._server_line(line)
        return shown if len(shown) <= LINE_OCTETS_MAX else shown[:LINE_OCTETS_MAX] + b" ..."

    def _client_line(self, line: bytes) -> bytes:
        if self._in_login:
            self._in_login = False
            self._expect_literal(line)
            return MASK if line else line
        if self._exchange:
            return MASK
        if self._in_content:
            self._in_content = line != b"."
            return line
        found = self._command.match(line) if self._command is not None else None
        if found is None:
            self._in_content = self._protocol == "nntp" and line[:9].upper() == b"TAKETHIS "
            return line
        if _EXCHANGE.match(line):
            self._exchange = True
            self._tag = line.split(None, 1)[0]
        elif self._protocol == "imap":
            self._expect_literal(line)
        return line if found[2] is None else found[1] + b" " + MASK

    def _expect_literal(self, line: bytes) -> None:
        literal = _LITERAL.search(line)
        if literal is not None:
            self._secret_literal, self._in_login = int(literal[1]), True

    def _server_line(self, line: bytes) -> bytes:
        if self._challenge is None:
            return line
        if self._content_replies is not None and line.startswith(self._content_replies):
            self._in_content = True
        if self._protocol == "imap":
            if self._exchange and line.split(None, 1)[:1] == [self._tag]:
                self._exchange = False
        elif line.startswith(self._challenge) or (self._protocol == "pop3" and line == b"+"):
            self._exchange = True
        else:
            self._exchange = False
        return line
