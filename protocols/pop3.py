"""The POP3 front-end: RFC 1939 whole, CAPA (2449), AUTH (5034), STLS (2595), UTF8 and LANG (6856).

The maildrop is the INBOX as it stood at login, locked until the session ends (RFC 1939 section 4). Deletions happen at
QUIT alone: a connection that drops deletes nothing. Messages go out octet for octet in UTF8 mode and out of it: a
message is never downgraded (RFC 6856 section 2.1 leaves that to the server), so that what came in is what goes out.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum, auto
from typing import Any, ClassVar

from .actor import Actor
from .pop3_syntax import (
    apop_arguments,
    auth_arguments,
    language_argument,
    message_number,
    name_argument,
    optional_message_number,
    password_argument,
    top_arguments,
    top_of,
)
from .ports import Connection, InUse, NoSuchMessage, PortError, Services, Unavailable
from .reader import InputTooLong
from .registry import Command, Registry, SyntaxProblem
from .reply import CRLF, DOT_END, Reply, line_block, one_line, stuff
from .sasl import Success, mechanisms
from .sasl_dialogue import run_mechanism
from .session import Session

SEEN = "\\Seen"
LISTING_LINES_MAX = 5000
"""Lines of LIST and UIDL that are built before they are handed to the transport."""


class State(Enum):
    """RFC 1939 section 3. UPDATE is what QUIT does."""

    AUTHORIZATION = auto()
    TRANSACTION = auto()


AUTHORIZATION, TRANSACTION = State.AUTHORIZATION, State.TRANSACTION
ANY = (AUTHORIZATION, TRANSACTION)

commands: Registry[Pop3Session] = Registry()

EXCHANGE55_COMMANDS = frozenset(
    (b"USER", b"PASS", b"LIST", b"UIDL", b"RETR", b"STAT", b"DELE", b"RSET", b"NOOP", b"TOP", b"AUTH", b"QUIT", b"STLS")
)
"""What the emulated server knows (KB Q322825: no APOP; KB Q262986: no RFC 2449); STLS where TLS was configured."""


UNENDED = b"UTF8"
"""Evolution (Camel 3.46) sends this command without a line end and waits for the reply, where RFC 6856 is offered."""


class Pop3Session(Session["Pop3Session"]):
    """One POP3 dialogue."""

    protocol: ClassVar[str] = "pop3"
    commands: ClassVar[Registry[Any]] = commands

    def __init__(self, connection: Connection, services: Services, actor: Actor | None = None) -> None:
        super().__init__(connection, services, actor)
        self.state = AUTHORIZATION
        self.exchange55 = self.settings.personality == "exchange55"
        self.utf8 = False
        self._line_end_owed = False
        """The last command was taken before its line end came, if that ever comes."""
        self.language = "i-default"
        self.offered_name: str | None = None
        """What USER said, until PASS."""
        self.mailbox: Any = None
        self.messages: list[Any] = []
        """The maildrop as it stood at login: message n is `messages[n - 1]` (RFC 1939 section 4)."""
        self.deleted: set[int] = set()
        self.retrieved: set[int] = set()
        self.size_left = 0
        self.uid_prefix = ""
        nonce = services.random_octets(12).hex()
        self.timestamp = f"<{nonce}.{int(services.clock.time())}@{self.settings.hostname}>".encode()
        """The APOP timestamp: different at every connection (RFC 1939 section 7)."""

    # --- protocols.session.Session ------------------------------------------------------------------------------------

    def greeting(self) -> Reply:
        if self.exchange55:
            return f"+OK Microsoft Exchange POP3 server version {self.settings.build} ready\r\n".encode()
        banner = f"+OK mailjam POP3 server at {self.settings.hostname} ready".encode()
        # the timestamp says that APOP can be used (RFC 1939 section 7)
        return banner + (b"" if "APOP" in self.settings.capabilities_hidden else b" " + self.timestamp) + CRLF

    def next_input(self) -> bytes | None:
        buffer = self.connection.buffer
        line = buffer.line(self.limits.command_line_bytes_max)
        if self._line_end_owed and line is not None:
            self._line_end_owed = False
            if not line:
                line = buffer.line(self.limits.command_line_bytes_max)
        if line is None and buffer.holds_only(UNENDED) and self._takes_utf8():
            self._line_end_owed = True
            return buffer.take_all()
        return line

    async def handle_input(self, item: bytes) -> None:
        verb, _, rest = item.partition(b" ")
        if self.exchange55 and verb.upper() not in EXCHANGE55_COMMANDS:
            self.send(self.unknown_command(verb))
            self.count_bad_command()
            return
        await self.execute(verb, rest)

    def unknown_command(self, verb: bytes) -> Reply:
        if self.exchange55:
            return b"-ERR Protocol Error\r\n"
        shown = one_line(verb.decode("ascii", "replace"), 40)
        return b"-ERR unknown command " + shown + CRLF if shown else b"-ERR a command is expected\r\n"

    def wrong_state(self, command: Command[Any]) -> Reply:
        if self.state is AUTHORIZATION:
            return b"-ERR " + command.verb.encode() + b" needs a login first\r\n"
        return b"-ERR " + command.verb.encode() + b" is for the AUTHORIZATION state\r\n"

    def bad_syntax(self, command: Command[Any], problem: SyntaxProblem) -> Reply:
        usage = command.usage or command.verb
        return b"-ERR " + one_line(f"{problem}; usage: {usage}") + CRLF

    def failure(self, command: Command[Any], error: PortError) -> Reply:
        text = one_line(str(error))
        if isinstance(error, NoSuchMessage):
            return b"-ERR no such message: " + text + CRLF
        if isinstance(error, InUse):
            return b"-ERR [IN-USE] " + text + CRLF
        code = b"[SYS/TEMP] " if isinstance(error, Unavailable) else b"[SYS/PERM] "
        return b"-ERR " + code + text + CRLF

    def too_long(self, problem: InputTooLong) -> Reply:
        return b"-ERR the line is " + one_line(str(problem)) + CRLF

    def farewell(self, why: str) -> Reply:
        # RFC 1939 section 3: an autologout says nothing
        if why == "deadline":
            return b""
        return b"-ERR [SYS/TEMP] " + one_line(why) + b", closing\r\n"

    def idle_seconds_max(self) -> float:
        return self.limits.pop3_idle_seconds_max

    async def on_close(self) -> None:
        if self.mailbox is None:
            return
        try:
            await self.mark_seen()
        except PortError:
            pass  # the flags are a convenience for IMAP readers; the dialogue is over either way
        finally:
            self.services.store.unlock_maildrop(self.mailbox, self)
            self.mailbox = None

    # --- capabilities -------------------------------------------------------------------------------------------------

    @property
    def password_allowed(self) -> bool:
        """Whether a password may cross the connection as it is now."""
        return self.settings.plaintext_login or self.connection.tls

    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms that can be used now, best first."""
        connection, settings = self.connection, self.settings
        return mechanisms(
            self.services.directory,
            tls=connection.tls,
            plaintext_allowed=settings.plaintext_login,
            binding=connection.channel_binding,
            hidden=settings.capabilities_hidden,
            ntlm_too=self.exchange55,
        )

    def _takes_utf8(self) -> bool:
        hidden = self.exchange55 or "UTF8" in self.settings.capabilities_hidden
        return self.state is AUTHORIZATION and not hidden

    def capabilities(self) -> list[bytes]:
        """The capability list of RFC 2449 for the state at hand."""
        settings = self.settings
        found = ["CAPA", "TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"]
        if self.password_allowed:
            found.append("USER")
        if self.state is AUTHORIZATION and self.connection.tls_available:
            found.append("STLS")
        if names := self.mechanisms():
            found.append("SASL " + " ".join(names))
        if settings.pop3_login_delay_seconds:
            found.append(f"LOGIN-DELAY {settings.pop3_login_delay_seconds}")
        if settings.pop3_expire_days is not None:
            found.append(f"EXPIRE {settings.pop3_expire_days}")
        found += ["UTF8 USER", "LANG", f"IMPLEMENTATION mailjam-{settings.version}"]
        hidden = settings.capabilities_hidden
        return [line.encode() for line in found if line != "CAPA" and line.split(" ")[0] not in hidden]

    # --- the maildrop -------------------------------------------------------------------------------------------------

    async def open_maildrop(self, user: str) -> Reply:
        """Lock the user's maildrop and enter TRANSACTION. Raises InUse, NoSuchMailbox, Unavailable."""
        services = self.services
        delay = self.settings.pop3_login_delay_seconds
        logins: dict[str, float] = services.shared.setdefault("pop3.logins", {})
        now = services.clock.monotonic()
        if delay and now - logins.get(user, -delay) < delay:
            return b"-ERR [LOGIN-DELAY] minimum time between logins is " + str(delay).encode() + b" seconds\r\n"
        mailbox = await services.directory.login(user)
        services.store.lock_maildrop(mailbox, self)
        if delay:
            logins[user] = now
        self.mailbox = mailbox
        folder = mailbox.inbox
        self.messages = list(folder.messages)
        self.size_left = sum([message.size for message in self.messages])
        self.uid_prefix = f"{folder.uid_validity:x}."
        self.user = self.actor.user = user
        self.state = TRANSACTION
        if self.exchange55:
            return b"+OK User successfully logged on\r\n"
        count = len(self.messages)
        return f"+OK maildrop has {count} message{'' if count == 1 else 's'} ({self.size_left} octets)\r\n".encode()

    async def login_failed(self) -> Reply:
        """Answer a wrong name or password, alike; close after `login_failures_max`."""
        self.login_failures += 1
        if self.limits.login_failure_delay_seconds:
            await self.services.clock.sleep(self.limits.login_failure_delay_seconds)
        if self.login_failures >= self.limits.login_failures_max:
            self.end("too many failed logins")
        if self.exchange55:
            return b"-ERR Logon failure: unknown user name or bad password.\r\n"
        return b"-ERR [AUTH] the name or the password is wrong\r\n"

    def pick(self, number: int) -> Any:
        """Message `number` of the maildrop. Raises NoSuchMessage when there is none or it is marked as deleted."""
        if not 1 <= number <= len(self.messages):
            raise NoSuchMessage(f"there are {len(self.messages)}")
        if number in self.deleted:
            raise NoSuchMessage(f"{number} is marked as deleted")
        return self.messages[number - 1]

    async def mark_seen(self) -> None:
        """Let IMAP clients see what was retrieved, in one commit at the end of the session."""
        retrieved, self.retrieved = self.retrieved, set()
        messages = [self.messages[number - 1] for number in sorted(retrieved)]
        unseen = [message for message in messages if not message.expunged and SEEN not in message.flags]
        if unseen:
            await self.services.store.set_flags(self.mailbox.inbox, unseen, "+", frozenset((SEEN,)))


# --- AUTHORIZATION ----------------------------------------------------------------------------------------------------


@commands.command("USER", states=(AUTHORIZATION,), syntax=name_argument, usage="USER name", capability="USER")
async def user(session: Pop3Session, name: str) -> Reply:
    """RFC 1939 section 7. Says +OK to every name: who has a mailbox is nobody's business before PASS."""
    if not session.password_allowed:
        return b"-ERR [AUTH] use STLS or a mechanism that does not send the password in clear\r\n"
    session.offered_name = name
    return b"+OK\r\n"


@commands.command("PASS", states=(AUTHORIZATION,), syntax=password_argument, usage="PASS string", capability="USER")
async def password(session: Pop3Session, secret: str) -> Reply:
    """RFC 1939 section 7: everything behind the first space is the password, spaces included."""
    name, session.offered_name = session.offered_name, None
    if name is None:
        return b"-ERR USER comes first\r\n"
    if session.exchange55:
        name = exchange55_name(name)
    found = await session.services.directory.verify(name, secret)
    return await session.login_failed() if found is None else await session.open_maildrop(found)


@commands.command("APOP", states=(AUTHORIZATION,), syntax=apop_arguments, usage="APOP name digest", capability="APOP")
async def apop(session: Pop3Session, arguments: tuple[str, bytes]) -> Reply:
    """RFC 1939 section 7: MD5 of the greeting's timestamp and the password, for accounts whose password is known."""
    name, digest = arguments
    directory = session.services.directory
    secret = directory.secret(name)
    # RFC 1939 prescribes MD5; a name without a known password costs the same time
    expected = hashlib.md5(session.timestamp + (secret or "").encode(), usedforsecurity=False).hexdigest().encode()
    right = hmac.compare_digest(expected, digest)
    found = directory.authenticate(name, secret) if right and secret else None
    return await session.login_failed() if found is None else await session.open_maildrop(found)


@commands.command(
    "AUTH", states=(AUTHORIZATION,), syntax=auth_arguments, usage="AUTH mechanism [initial-response]", capability="SASL"
)
async def auth(session: Pop3Session, arguments: tuple[str, bytes | None] | None) -> Reply:
    """RFC 5034. Without a mechanism it lists them, as clients from before CAPA expect (draft-myers-sasl-pop3)."""
    names = session.mechanisms()
    if arguments is None:
        return line_block(b"+OK mechanisms follow", [name.encode() for name in names])
    name, initial = arguments
    if name not in names:
        return b"-ERR [AUTH] the mechanism is not available\r\n"
    outcome = await run_mechanism(session, name, initial, prefix=b"+ ")
    if isinstance(outcome, Success):
        return await session.open_maildrop(outcome.user)
    if outcome.kind == "credentials":
        return await session.login_failed()
    return b"-ERR " + one_line(outcome.text) + CRLF


@commands.command("STLS", states=(AUTHORIZATION,), capability="STLS")
async def stls(session: Pop3Session, _: None) -> Reply:
    """RFC 2595 section 4. What was learned before TLS is forgotten."""
    if session.connection.tls:
        return b"-ERR TLS is on already\r\n"
    if not session.connection.tls_available:
        return b"-ERR TLS is not available here\r\n"
    session.send(b"+OK begin TLS\r\n")
    await session.flush()
    await session.connection.start_tls()
    session.offered_name = None
    session.utf8 = False
    session.language = "i-default"
    return b""


@commands.command("UTF8", states=(AUTHORIZATION,), capability="UTF8")
async def utf8(session: Pop3Session, _: None) -> Reply:
    """RFC 6856 section 2.1."""
    session.utf8 = True
    return b"+OK UTF8 enabled\r\n"


# --- any state --------------------------------------------------------------------------------------------------------


@commands.command("CAPA", states=ANY, capability="CAPA")
async def capa(session: Pop3Session, _: None) -> Reply:
    """RFC 2449 section 5."""
    return line_block(b"+OK capabilities follow", session.capabilities())


LANGUAGES = {"i-default": "The default language", "en": "English"}


@commands.command("LANG", states=ANY, syntax=language_argument, usage="LANG [tag]", capability="LANG")
async def lang(session: Pop3Session, tag: str | None) -> Reply:
    """RFC 6856 section 3: `*` is the server's default; there is English only, under its two names."""
    if tag is None:
        lines = [f"{name} {description}".encode() for name, description in LANGUAGES.items()]
        return line_block(b"+OK languages follow", lines)
    chosen = "i-default" if tag == "*" else tag.lower()
    if chosen not in LANGUAGES and chosen.partition("-")[0] == "en":
        chosen = "en"
    if chosen not in LANGUAGES:
        return b"-ERR the language is not available; LANG lists those that are\r\n"
    session.language = chosen
    return b"+OK " + chosen.encode() + b" is the language now\r\n"


@commands.command("QUIT", states=ANY)
async def quit_(session: Pop3Session, _: None) -> Reply:
    """RFC 1939 section 6: in TRANSACTION the marked messages are removed, in one commit, before the reply."""
    goodbye = b"+OK mailjam POP3 server signing off\r\n"
    if session.exchange55:
        goodbye = f"+OK Microsoft Exchange POP3 server version {session.settings.build} signing off\r\n".encode()
    session.end("logout")
    if session.state is AUTHORIZATION:
        return goodbye
    doomed = [session.messages[number - 1] for number in session.deleted]
    try:
        await session.mark_seen()
        if doomed:
            await session.services.store.expunge(session.mailbox.inbox, doomed)
    except PortError as error:
        return b"-ERR [SYS/TEMP] some deleted messages were not removed: " + one_line(str(error)) + CRLF
    session.deleted.clear()
    return goodbye


# --- TRANSACTION ------------------------------------------------------------------------------------------------------


@commands.command("STAT", states=(TRANSACTION,))
async def stat(session: Pop3Session, _: None) -> Reply:
    """RFC 1939 section 5: messages marked as deleted do not count."""
    return f"+OK {len(session.messages) - len(session.deleted)} {session.size_left}\r\n".encode()


@commands.command("LIST", states=(TRANSACTION,), syntax=optional_message_number, usage="LIST [n]")
async def list_(session: Pop3Session, number: int | None) -> Reply:
    """RFC 1939 section 5: sizes as they are kept, without conversion."""
    if number is not None:
        return f"+OK {number} {session.pick(number).size}\r\n".encode()
    count = len(session.messages) - len(session.deleted)
    session.send(f"+OK {count} messages ({session.size_left} octets)\r\n".encode())
    return await listing(session, lambda number, message: f"{number} {message.size}\r\n")


@commands.command("UIDL", states=(TRANSACTION,), syntax=optional_message_number, usage="UIDL [n]", capability="UIDL")
async def uidl(session: Pop3Session, number: int | None) -> Reply:
    """RFC 1939 section 7: UIDVALIDITY and UID, which no other message of the maildrop ever has."""
    prefix = session.uid_prefix
    if number is not None:
        return f"+OK {number} {prefix}{session.pick(number).uid:x}\r\n".encode()
    session.send(b"+OK unique-ids follow\r\n")
    return await listing(session, lambda number, message: f"{number} {prefix}{message.uid:x}\r\n")


async def listing(session: Pop3Session, line: Any) -> Reply:
    """One line for each message that is not marked as deleted, sent in pieces, and the lone dot."""
    messages, deleted = session.messages, session.deleted
    for start in range(0, len(messages), LISTING_LINES_MAX):
        part = messages[start : start + LISTING_LINES_MAX]
        lines = [line(number, message) for number, message in enumerate(part, start + 1) if number not in deleted]
        session.send("".join(lines).encode())
        await session.flush_when_large()
    return DOT_END


@commands.command("RETR", states=(TRANSACTION,), syntax=message_number, usage="RETR n")
async def retr(session: Pop3Session, number: int) -> Reply:
    """RFC 1939 section 5. The body goes to the transport as it is: no copy unless it needs dot-stuffing."""
    message = session.pick(number)
    session.actor.doing = f"RETR {number}"
    octets = await session.services.conversion.octets(message)
    session.retrieved.add(number)
    return (b"+OK %d octets\r\n" % len(octets), stuff(octets), DOT_END)


@commands.command("TOP", states=(TRANSACTION,), syntax=top_arguments, usage="TOP n lines", capability="TOP")
async def top(session: Pop3Session, arguments: tuple[int, int]) -> Reply:
    """RFC 1939 section 7: the header, the empty line, and so many lines of the body."""
    number, lines = arguments
    message = session.pick(number)
    session.actor.doing = f"TOP {number} {lines}"
    octets = await session.services.conversion.octets(message)
    return (b"+OK\r\n", stuff(top_of(octets, lines)), DOT_END)


@commands.command("DELE", states=(TRANSACTION,), syntax=message_number, usage="DELE n")
async def dele(session: Pop3Session, number: int) -> Reply:
    """RFC 1939 section 5: marks; QUIT removes."""
    message = session.pick(number)
    session.deleted.add(number)
    session.size_left -= message.size
    return b"+OK\r\n" if session.exchange55 else b"+OK message %d is marked as deleted\r\n" % number


@commands.command("NOOP", states=(TRANSACTION,))
async def noop(session: Pop3Session, _: None) -> Reply:
    """RFC 1939 section 5."""
    return b"+OK\r\n"


@commands.command("RSET", states=(TRANSACTION,))
async def rset(session: Pop3Session, _: None) -> Reply:
    """RFC 1939 section 5: nothing is marked as deleted any more."""
    session.deleted.clear()
    session.size_left = sum([message.size for message in session.messages])
    return b"+OK\r\n" if session.exchange55 else f"+OK maildrop has {len(session.messages)} messages\r\n".encode()


def exchange55_name(name: str) -> str:
    """`domain\\user` and `domain/user/mailbox`: the name by which the directory knows the user (KB Q161118)."""
    parts = name.replace("\\", "/").split("/")
    return parts[1] if len(parts) > 1 and parts[1] else name
