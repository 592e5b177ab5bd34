"""Black-box probes of mail and news servers: one session each, with a deadline for every stage.

A probe knows the protocol only as far as a liveness check has to: greeting, one harmless command, TLS where it is
wanted (from the first octet or by STARTTLS: RFC 8314, 3207, 2595, 4642), a login where a user was given, one message.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

LINE_BYTES_MAX = 64 * 1024
REPLY_LINES_MAX = 100_000
_Result = TypeVar("_Result")


class StageError(Exception):
    """A stage did not succeed. `status`: hung, refusing or down."""

    def __init__(self, status: str, stage: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.stage = stage
        self.detail = detail


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """For probes: a certificate is checked only against a given authority. Raises OSError for a file that is none.

    Whether a server is alive does not depend on who signed its certificate; whether to trust it is another question.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    if not ca_file:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Session:
    """A connection to a server. `seconds` has the time that each stage took; every method raises StageError."""

    protocol: ClassVar[str] = ""
    welcome: ClassVar[tuple[bytes, ...]] = ()
    hello: ClassVar[bytes] = b""
    starttls: ClassVar[tuple[bytes, bytes]] = (b"STARTTLS", b"")
    """The command that starts TLS, and how its reply begins."""

    def __init__(
        self,
        host: str,
        port: int,
        deadline_seconds: float,
        *,
        implicit_tls: ssl.SSLContext | None = None,
        start_tls: ssl.SSLContext | None = None,
    ) -> None:
        """`implicit_tls`: from the first octet; `start_tls`: by the protocol's command, behind the greeting."""
        self._implicit_tls = implicit_tls
        self._start_tls = start_tls
        self.host = host
        self.port = port
        self.deadline_seconds = deadline_seconds
        self.seconds: dict[str, float] = {}
        self._tcp: asyncio.WriteTransport | None = None  # what lies below, whatever becomes of a TLS handshake
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect, read the greeting, say hello."""
        await self.timed("connect", self._connect())
        if self._implicit_tls is not None:
            await self.timed("tls", self._handshake(self._implicit_tls))
        line = await self.timed("greeting", self.line("greeting"))
        if not line.startswith(self.welcome):
            raise StageError("refusing", "greeting", line.decode("latin-1"))
        await self.timed("hello", self.command("hello", self.hello))
        if self._start_tls is not None:
            text, wanted = self.starttls
            _expect("tls", await self.timed("tls", self.command("tls", text)), wanted)
            self._nothing_more_in_plain()
            await self.timed("tls", self._handshake(self._start_tls))
            await self.timed("hello", self.command("hello", self.hello))

    def _nothing_more_in_plain(self) -> None:
        """What stands behind the reply to STARTTLS would be read as if it had come under TLS (CVE-2011-0411)."""
        if getattr(self.reader, "_buffer", b""):
            raise StageError("refusing", "tls", "it sent more in plain behind its reply: somebody may have injected it")

    async def _handshake(self, context: ssl.SSLContext) -> None:
        assert self.writer is not None
        try:
            await self.writer.start_tls(context, server_hostname=self.host)
        except ssl.SSLCertVerificationError as error:
            raise StageError("refusing", "tls", f"its certificate: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise StageError("down", "tls", f"no TLS: {error.reason or error}") from error

    async def _connect(self) -> None:
        try:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=LINE_BYTES_MAX)
        except OSError as error:
            raise StageError("down", "connect", error.strerror or str(error)) from error
        self._tcp = self.writer.transport

    async def timed(self, stage: str, step: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a stage within the deadline."""
        start = time.monotonic()
        try:
            return await asyncio.wait_for(step, self.deadline_seconds)
        except TimeoutError as error:
            raise StageError("hung", stage, f"nothing for {self.deadline_seconds:g} s") from error
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise StageError("down", stage, f"the connection broke: {error}") from error
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - start

    async def line(self, stage: str) -> bytes:
        """One line without its end."""
        assert self.reader is not None
        text = await self.reader.readline()
        if not text.endswith(b"\n"):
            raise StageError("down", stage, "the server closed the connection")
        return text.rstrip(b"\r\n")

    async def send(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)
        await self.writer.drain()

    async def command(self, stage: str, text: bytes) -> list[bytes]:
        """One command and its reply, whatever that says."""
        await self.send(text + b"\r\n")
        lines: list[bytes] = []
        while len(lines) < REPLY_LINES_MAX:
            lines.append(await self.line(stage))
            if self.complete(lines):
                return lines
        raise StageError("down", stage, f"a reply of more than {REPLY_LINES_MAX} lines")

    def complete(self, lines: list[bytes]) -> bool:
        """Is the reply at its end?"""
        return True

    async def login(self, user: str, password: str) -> None:
        """Log in; a refusal is a StageError too."""
        raise NotImplementedError

    async def noop(self) -> None:
        """A harmless command on the open session."""
        await self.timed("noop", self.command("noop", b"NOOP"))

    async def find(self, mark: str) -> bool:
        """Look for a message with this mark in its Subject in the user's mailbox, and remove it."""
        raise NotImplementedError

    def alive(self) -> bool:
        """Is the connection still open, as far as is known without sending?"""
        return self.reader is not None and not self.reader.at_eof() and self.reader.exception() is None

    def close(self) -> None:
        """Drop the connection, without a farewell that a peer which has stopped would never answer."""
        if self.writer is not None:
            self.writer.transport.abort()
        if self._tcp is not None:
            self._tcp.abort()
        self._tcp = self.writer = None


def _expect(stage: str, lines: list[bytes], *wanted: bytes) -> list[bytes]:
    if not lines[-1].startswith(wanted):
        raise StageError("refusing", stage, lines[-1].decode("latin-1"))
    return lines


class SmtpSession(Session):
    protocol = "smtp"
    welcome = (b"220",)
    starttls = (b"STARTTLS", b"220")
    hello = b"EHLO probe.localdomain"

    def complete(self, lines: list[bytes]) -> bool:
        return lines[-1][3:4] != b"-"

    async def login(self, user: str, password: str) -> None:
        """Nothing: mail to a local user needs no login."""

    async def submit(self, sender: str, recipient: str, mark: str) -> None:
        """One small message."""
        for text, code in ((f"MAIL FROM:<{sender}>", b"250"), (f"RCPT TO:<{recipient}>", b"25"), ("DATA", b"354")):
            _expect("transaction", await self.timed("transaction", self.command("transaction", text.encode())), code)
        body = f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {mark}\r\n\r\nA probe.\r\n."
        _expect("transaction", await self.timed("transaction", self.command("transaction", body.encode())), b"250")


class Pop3Session(Session):
    protocol = "pop3"
    welcome = (b"+OK",)
    hello = b"CAPA"
    starttls = (b"STLS", b"+OK")
    _long = False

    async def command(self, stage: str, text: bytes) -> list[bytes]:
        self._long = text == self.hello or text.startswith(b"TOP ")
        return await super().command(stage, text)

    def complete(self, lines: list[bytes]) -> bool:
        return not self._long or not lines[0].startswith(b"+OK") or lines[-1] == b"."

    async def noop(self) -> None:
        """Before a login any reply will do, also that the command is not known here."""
        await super().noop()

    async def login(self, user: str, password: str) -> None:
        """A maildrop that somebody else has open is no illness: the password was right (RFC 2449 section 8.1.1)."""
        for text in (f"USER {user}", f"PASS {password}"):
            reply = await self.timed("login", self.command("login", text.encode()))
            if not reply[-1].upper().startswith((b"-ERR [IN-USE]", b"-ERR [LOGIN-DELAY]")):
                _expect("login", reply, b"+OK")

    async def leave(self) -> None:
        """QUIT: the maildrop is free again for its owner, and for the next round."""
        await self.timed("login", self.command("login", b"QUIT"))

    async def find(self, mark: str) -> bool:
        reply = _expect("delivery", await self.timed("delivery", self.command("delivery", b"STAT")), b"+OK")
        count = int(reply[0].split()[1])
        for number in range(count, max(0, count - 50), -1):
            lines = await self.timed("delivery", self.command("delivery", b"TOP %d 0" % number))
            if any(line.lower().startswith(b"subject:") and mark.encode() in line for line in lines):
                await self.timed("delivery", self.command("delivery", b"DELE %d" % number))
                await self.leave()
                return True
        await self.leave()
        return False


class ImapSession(Session):
    protocol = "imap"
    welcome = (b"* OK", b"* PREAUTH")
    hello = b"p0 CAPABILITY"
    starttls = (b"p0 STARTTLS", b"p0 OK")
    _tag = b"p0"

    def complete(self, lines: list[bytes]) -> bool:
        return lines[-1].startswith(self._tag + b" ")

    async def _do(self, stage: str, text: str) -> list[bytes]:
        self._tag = b"p%d" % (int(self._tag[1:]) + 1)
        return await self.timed(stage, self.command(stage, self._tag + b" " + text.encode()))

    def _ok(self, stage: str, lines: list[bytes]) -> list[bytes]:
        return _expect(stage, lines, self._tag + b" OK")

    async def noop(self) -> None:
        await self._do("noop", "NOOP")

    async def login(self, user: str, password: str) -> None:
        quoted = ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in (user, password)]
        self._ok("login", await self._do("login", f"LOGIN {quoted[0]} {quoted[1]}"))

    async def find(self, mark: str) -> bool:
        self._ok("delivery", await self._do("delivery", "SELECT INBOX"))
        lines = self._ok("delivery", await self._do("delivery", f'SEARCH SUBJECT "{mark}"'))
        found = next((line.split()[2:] for line in lines if line.upper().startswith(b"* SEARCH")), [])
        for number in found:
            await self._do("delivery", f"STORE {number.decode()} +FLAGS.SILENT (\\Deleted)")
        if found:
            await self._do("delivery", "EXPUNGE")
        return bool(found)


class NntpSession(Session):
    protocol = "nntp"
    welcome = (b"200", b"201")
    hello = b"DATE"
    starttls = (b"STARTTLS", b"382")

    async def noop(self) -> None:
        await self.timed("noop", self.command("noop", b"DATE"))

    async def login(self, user: str, password: str) -> None:
        reply = await self.timed("login", self.command("login", f"AUTHINFO USER {user}".encode()))
        if reply[0].startswith(b"381"):
            reply = await self.timed("login", self.command("login", f"AUTHINFO PASS {password}".encode()))
        # 502 and 50x: the server asks nobody to log in; that is no illness
        if reply[0].startswith((b"481", b"400")):
            raise StageError("refusing", "login", reply[0].decode("latin-1"))


SESSIONS: dict[str, type[Session]] = {
    session.protocol: session for session in (SmtpSession, Pop3Session, ImapSession, NntpSession)
}
