"""The SMTP dialogue (RFC 5321) and its extensions, sans-IO like all front-ends.

States: `START` before HELO, `READY` between transactions, `MAIL` and `RCPT` inside one, `BDAT` between the chunks of a
message (RFC 3030). Commands are registered in `commands.py` and `extensions.py`; what they do to the system stands here
in methods that `emulator.smtp` overrides where an aiosmtpd handler is plugged in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from protocols import sasl
from protocols.actor import Actor
from protocols.ports import (
    Connection,
    NoSuchMailbox,
    NotPermitted,
    OverQuota,
    PortError,
    Rejected,
    Services,
    Unavailable,
)
from protocols.reader import InputTooLong
from protocols.registry import Command, Registry, SyntaxProblem
from protocols.reply import Reply, one_line
from protocols.sasl_dialogue import run_mechanism
from protocols.session import Session

from . import parameters, personality, trace
from .grammar import Refusal

START, READY, MAIL, RCPT, BDAT = "start", "ready", "mail", "rcpt", "bdat"
ANY_STATE = frozenset({START, READY, MAIL, RCPT, BDAT})

AUTH_LINE_OCTETS_MAX = sasl.RESPONSE_OCTETS_MAX + 64
"""A command line with an initial response (RFC 4954 section 4)."""
FOREIGN_VERBS = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE", b"DELETE", b"PATCH"})
"""HTTP: a browser that was made to talk to us carries someone else's words (cross-protocol attack)."""
UNIMPLEMENTED_VERBS = frozenset({b"TURN", b"ATRN", b"SEND", b"SOML", b"SAML", b"BURL"})
"""Verbs that are known and not implemented: 502 (RFC 5321 section 4.2.4)."""

Registered = Registry["SmtpSession"]


@dataclass(slots=True)
class Transaction:
    """One mail transaction (RFC 5321 section 3.3)."""

    reverse_path: str
    options: dict[str, Any]
    recipients: list[str] = field(default_factory=list)
    recipient_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: int = 0
    """Recipients that were refused."""
    chunks: bytearray = field(default_factory=bytearray)
    """BDAT's chunks so far, in one piece: a peer may send any number of small ones."""

    def all_options(self) -> dict[str, Any]:
        """What goes to `Submission.submit`; see parameters.py."""
        if self.recipient_options:
            return {**self.options, "recipients": self.recipient_options}
        return self.options


class SmtpSession(Session["SmtpSession"]):
    """One dialogue with one SMTP client."""

    protocol: ClassVar[str] = "smtp"
    commands: ClassVar[Registered] = Registry()
    greeting_verbs: ClassVar[tuple[str, ...]] = ("EHLO", "HELO")

    def __init__(self, connection: Connection, services: Services, actor: Actor | None = None) -> None:
        super().__init__(connection, services, actor)
        self.state = START
        self.helo = ""
        self.extended = False
        self.transaction: Transaction | None = None
        self.offered: frozenset[str] = frozenset()
        """Extensions that the reply to EHLO named."""
        self.peer_name = ""
        """Name of the peer, when XCLIENT gave one."""
        self.client = personality.address_of(connection.peer)
        self.voice = personality.voice(self.settings)
        self._command_bytes_max = self.limits.command_line_bytes_max
        self._line_bytes_max = max(self._command_bytes_max, AUTH_LINE_OCTETS_MAX)
        self._trace_prefix = b""
        self._trace_utf8 = False
        self._trace_id = ""
        self._message_count = 0

    # --- replies ------------------------------------------------------------------------------------------------------

    def reply(self, code: int, enhanced: str, text: str) -> bytes:
        """One reply line; the enhanced status code (RFC 2034) is left out where it is not offered."""
        body = one_line(text, self.limits.reply_text_bytes_max)
        if not self.utf8_replies:
            body = body.decode("utf-8", "ignore").encode("ascii", "replace")
        if enhanced and self.voice.enhanced:
            return b"%d %b %b\r\n" % (code, enhanced.encode(), body)
        return b"%d %b\r\n" % (code, body)

    @property
    def utf8_replies(self) -> bool:
        """RFC 6531 section 3.7.4.2: only a client that said SMTPUTF8 is told anything in UTF-8."""
        return self.transaction is not None and "smtputf8" in self.transaction.options

    def greeting(self) -> Reply:
        return self.voice.greeting(self.settings)

    def unknown_command(self, verb: bytes) -> Reply:
        if verb.upper() in FOREIGN_VERBS:
            self.end("foreign protocol")
            return self.reply(554, "5.5.1", "this is SMTP, not HTTP")
        if verb.upper() in UNIMPLEMENTED_VERBS:
            return self.reply(502, "5.5.1", "command not implemented")
        return self.voice.unknown

    def wrong_state(self, command: Command[Any]) -> Reply:
        if self.state == START:
            return self.reply(503, "5.5.1", f"send {self.greeting_verbs[0]} first")
        if command.verb in ("MAIL", "AUTH", "STARTTLS", "ETRN", "XCLIENT"):
            if command.verb == "MAIL":
                return self.voice.nested_mail
            return self.reply(503, "5.5.1", f"{command.verb} is not allowed during a mail transaction")
        if self.state == BDAT:
            return self.reply(503, "5.5.1", "a message is being sent by BDAT: go on, or RSET")
        return self.no_message_now()

    def no_message_now(self) -> Reply:
        """The reply to RCPT, DATA or BDAT out of their order."""
        if self.state == START:
            return self.reply(503, "5.5.1", f"send {self.greeting_verbs[0]} first")
        if self.settings.login_required and not self.user:  # RFC 4954 section 6: to any command
            return self.reply(530, "5.7.0", "Authentication required")
        if self.transaction is not None and self.transaction.refused:
            return self.reply(554, "5.5.1", "no valid recipients")
        return self.reply(503, "5.5.1", "need MAIL first" if self.transaction is None else "need RCPT first")

    def bad_syntax(self, command: Command[Any], problem: SyntaxProblem) -> Reply:
        if isinstance(problem, Refusal):
            return self.reply(problem.code, problem.enhanced, str(problem))
        return self.reply(501, "5.5.4", f"syntax: {command.usage or command.verb} ({problem})")

    def failure(self, command: Command[Any], error: PortError) -> Reply:
        return self.port_error(error)

    def port_error(self, error: PortError) -> bytes:
        """The reply to what a port could not do."""
        text = str(error)
        if isinstance(error, Unavailable):
            return self.reply(452, "4.3.1", text)
        if isinstance(error, OverQuota):
            return self.reply(552, "5.2.2", text)
        if isinstance(error, NoSuchMailbox):
            return self.reply(550, "5.1.1", text)
        if isinstance(error, NotPermitted):
            return self.reply(550, "5.7.1", text)
        if isinstance(error, Rejected):
            return self.reply(554, "5.6.0", text)
        return self.reply(451, "4.3.0", text)

    def too_long(self, problem: InputTooLong) -> Reply:
        return self.reply(500, "5.5.2", f"line too long: at most {problem.limit} octets (RFC 5321 section 4.5.3.1)")

    def farewell(self, why: str) -> Reply:
        enhanced = {"deadline": "4.4.2", "too many errors": "4.7.0", "shutdown": "4.3.2"}.get(why, "4.3.2")
        text = {"deadline": "timeout exceeded", "shutdown": "service is shutting down"}.get(why, why)
        return self.reply(421, enhanced, f"{self.settings.hostname} closing connection: {text}")

    def is_withheld(self, command: Command[Any]) -> bool:
        """Whether a command is unknown here because its extension is hidden or was not part of the personality."""
        extension = command.capability
        return extension in self.settings.capabilities_hidden or not self.voice.knows(extension)

    # --- input --------------------------------------------------------------------------------------------------------

    def idle_seconds_max(self) -> float:
        return self.limits.smtp_idle_seconds_max

    @property
    def before_login(self) -> bool:
        """The budgets before login count only where a login is needed: SMTP without one is the rule."""
        return self.settings.login_required and super().before_login

    def next_input(self) -> bytes | None:
        line = self.connection.buffer.line(self._line_bytes_max)
        if line is not None and len(line) + 2 > self._command_bytes_max and line[:5].upper() != b"AUTH ":
            raise InputTooLong(self._command_bytes_max)
        return line

    async def handle_input(self, item: bytes) -> None:
        if b"\n" in item or b"\r" in item or b"\0" in item:
            # RFC 5321 section 2.3.8; whoever strips these reads other commands than we do
            self.send(self.reply(500, "5.5.2", "bare CR, bare LF or NUL in a command line"))
            self.count_bad_command()
            return
        verb, _, rest = item.partition(b" ")
        await self.execute(verb, rest)

    async def _loop(self) -> None:
        """RFC 5321 section 4.3.1: the client waits for the greeting; one that spoke already is refused."""
        clock = self.services.clock
        for seconds in (self.settings.smtp_greeting_seconds, 0, 0):
            await clock.sleep(seconds)
        if len(self.connection.buffer):
            self._out.clear()
            self.send(self.reply(554, "5.5.1", "protocol error: wait for the greeting before you speak"))
            self.end("early talker")
        await super()._loop()

    # --- what is offered ----------------------------------------------------------------------------------------------

    def extensions(self) -> list[tuple[str, str]]:
        """(keyword, parameters) of all extensions that can be had now, in the order of the reply to EHLO."""
        settings, limits, connection = self.settings, self.limits, self.connection
        behind = self.services.submission.extensions
        found = [
            ("PIPELINING", ""),
            ("SIZE", str(limits.message_bytes_max)),
            ("8BITMIME", ""),
            ("SMTPUTF8", ""),
            ("CHUNKING", ""),
            ("BINARYMIME", ""),
            ("ENHANCEDSTATUSCODES", ""),
        ]
        if connection.tls_available:
            found.append(("STARTTLS", ""))
        if not self.user and (names := self.mechanisms()):
            found.append(("AUTH", " ".join(names)))
        if "DSN" in behind:
            found.append(("DSN", ""))
        if "REQUIRETLS" in behind and connection.tls:
            found.append(("REQUIRETLS", ""))
        if "MT-PRIORITY" in behind:
            found.append(("MT-PRIORITY", "MIXER"))
        if "FUTURERELEASE" in behind:
            last = parameters.last_release(self.services.clock.time())
            found.append(("FUTURERELEASE", f"{parameters.HOLD_SECONDS_MAX} {last}"))
        if "ETRN" in behind and self.protocol == "smtp":
            found.append(("ETRN", ""))
        if self.xclient_allowed():
            found.append(("XCLIENT", "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"))
        found += [("LIMITS", f"RCPTMAX={limits.recipients_max}"), ("VRFY", ""), ("EXPN", ""), ("HELP", "")]
        hidden, knows = settings.capabilities_hidden, self.voice.knows
        return [(keyword, text) for keyword, text in found if keyword not in hidden and knows(keyword)]

    def mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms that may be used now."""
        return sasl.mechanisms(
            self.services.directory,
            tls=self.connection.tls,
            plaintext_allowed=self.settings.plaintext_login,
            binding=self.connection.channel_binding,
            hidden=self.settings.capabilities_hidden,
            ntlm_too=self.settings.personality == "exchange55",
        )

    def xclient_allowed(self) -> bool:
        """Postfix's XCLIENT is for test tools and proxies on this machine."""
        return personality.is_loopback(self.connection.peer)

    def circumstances(self) -> parameters.Circumstances:
        """What parameters of MAIL and RCPT depend on."""
        return parameters.Circumstances(self.limits.message_bytes_max, self.connection.tls, self.services.clock.time())

    # --- what commands do to the system (overridden where an aiosmtpd handler is plugged in) -------------------------

    async def accept_helo(self, name: str, *, extended: bool) -> Reply:
        """A client introduced itself: HELO, EHLO or LHLO."""
        self.introduce(name, extended=extended)
        if not extended:
            return self.voice.helo(self.settings, name, self.client)
        return self.voice.ehlo(self.settings, name, self.client, self.extensions())

    def introduce(self, name: str, *, extended: bool) -> None:
        """Forget the transaction and remember who speaks (RFC 5321 section 4.1.4)."""
        self.reset()
        self.state = READY
        self.helo = name
        self.extended = extended
        self.offered = frozenset(keyword for keyword, _ in self.extensions()) if extended else frozenset()
        self._trace_prefix = b""

    async def accept_sender(self, transaction: Transaction, given: dict[str, str | None]) -> Reply:
        """MAIL was well-formed and allowed."""
        self.transaction = transaction
        self.state = MAIL
        return self.voice.sender_ok(transaction.reverse_path)

    async def accept_recipient(self, address: str, options: dict[str, Any], given: dict[str, str | None]) -> Reply:
        """RCPT was well-formed and allowed. Raises NoSuchMailbox, Unavailable."""
        transaction = self.transaction
        assert transaction is not None
        try:
            self.services.submission.check_recipient(address)
        except PortError:
            transaction.refused += 1
            raise
        self.add_recipient(address, options)
        return self.voice.recipient_ok(address)

    def add_recipient(self, address: str, options: dict[str, Any]) -> None:
        """One more recipient of the transaction."""
        assert self.transaction is not None
        self.transaction.recipients.append(address)
        if options:
            self.transaction.recipient_options[address] = options
        self.state = RCPT

    async def finish_message(self, octets: bytes | None) -> Reply:
        """The end of a message has come, and with it the end of the transaction. None: it was too large to keep."""
        try:
            if octets is None or len(octets) > self.limits.message_bytes_max:
                raise Refusal(552, "5.3.4", "message size exceeds fixed maximum message size")
            assert self.transaction is not None
            if self.transaction.options.get("body") != "BINARYMIME":
                trace.check_lines(octets, nul_refused=self.settings.smtp_nul_refused)
            trace.check_hops(octets, self.limits.hops_max)
            return await self.accept_message(octets)
        except Refusal as refusal:
            return self.message_refused(self.reply(refusal.code, refusal.enhanced, str(refusal)))
        except PortError as error:
            return self.message_refused(self.port_error(error))
        finally:
            self.reset()

    def message_refused(self, reply: bytes) -> Reply:
        """The reply to a message that was not taken (LMTP gives one for each recipient)."""
        return reply

    async def accept_message(self, octets: bytes) -> Reply:
        """The message is here whole: take the responsibility for it, or refuse. Raises PortError."""
        name = await self.submit(octets)
        return self.voice.message_ok(name)

    async def submit(self, octets: bytes) -> str:
        """Give the message with its trace field to the Internet Mail Service; the name of its spool file."""
        transaction = self.transaction
        assert transaction is not None
        self.actor.doing = f"DATA from <{transaction.reverse_path}>"
        return await self.services.submission.submit(
            transaction.reverse_path,
            transaction.recipients,
            self.received_field() + octets,
            transaction.all_options(),
        )

    def received_field(self) -> bytes:
        """The trace field (RFC 5321 section 4.4)."""
        transaction = self.transaction
        assert transaction is not None
        if not self._trace_prefix or self._trace_utf8 != ("smtputf8" in transaction.options):
            self._trace_id = self._trace_id or self.services.random_octets(6).hex().upper()
            self._trace_utf8 = "smtputf8" in transaction.options
            self._trace_prefix = self.voice.received_from(self, self._trace_utf8)
        self._message_count += 1
        only = transaction.recipients[0] if len(transaction.recipients) == 1 else ""
        identifier = f"{self._trace_id}{self._message_count:X}"
        priority = transaction.options.get("priority")
        return trace.received(self._trace_prefix, identifier, only, self.services.clock.time(), priority)

    def forget_trace(self) -> None:
        """What the trace field says of the peer has changed."""
        self._trace_prefix = b""

    async def tls_started(self) -> None:
        """RFC 3207 section 4.2: all that was learned before TLS is forgotten."""
        self.transaction = None
        self.state = START
        self.helo = ""
        self.extended = False
        self.offered = frozenset()
        self.user = self.actor.user = ""
        self.forget_trace()

    async def authenticate(self, mechanism: str, initial: bytes | None) -> Reply:
        """Go through a SASL mechanism and answer as RFC 4954 section 6 says."""
        if mechanism not in self.mechanisms():
            if mechanism in sasl.OPEN_TEXT and not self.connection.tls and not self.settings.plaintext_login:
                return self.reply(538, "5.7.11", "encryption is required for this mechanism")
            return self.reply(504, "5.5.4", "unrecognized authentication mechanism")
        outcome = await run_mechanism(self, mechanism, initial, prefix=b"334 ")
        if isinstance(outcome, sasl.Success):
            self.user = self.actor.user = outcome.user
            self.login_failures = 0
            self.forget_trace()
            return self.reply(235, "2.7.0", "authentication succeeded")
        if outcome.kind != "credentials":
            self.count_bad_command()
            return self.reply(501, "5.7.0" if outcome.kind == "cancelled" else "5.5.2", outcome.text)
        return await self.login_failed(outcome.text)

    async def login_failed(self, text: str) -> Reply:
        """Wrong credentials: after `login_failures_max` of them the connection is closed."""
        self.login_failures += 1
        if self.limits.login_failure_delay_seconds:
            await self.services.clock.sleep(self.limits.login_failure_delay_seconds)
        refusal = self.reply(535, "5.7.8", text)
        if self.login_failures < self.limits.login_failures_max:
            return refusal
        self.end("too many login failures")
        return (refusal, self.reply(421, "4.7.0", "too many failed logins"))

    def reset(self) -> None:
        """Forget the transaction."""
        self.transaction = None
        if self.state != START:
            self.state = READY

    async def accept_rset(self) -> Reply:
        """RSET."""
        self.reset()
        return self.voice.reset

    async def accept_noop(self, argument: bytes) -> Reply:
        """NOOP."""
        return self.voice.reset

    async def accept_quit(self) -> Reply:
        """QUIT."""
        self.end("logout")
        return self.voice.bye(self.settings)

    async def accept_vrfy(self, address: str) -> Reply:
        """VRFY: 250 for a mailbox, 252 for what would be taken though there is no mailbox yet."""
        found = self.services.directory.find(address)
        if found is not None and found.isascii():
            return self.reply(250, "2.1.5", f"<{found if '@' in found else f'{found}@{self.settings.hostname}'}>")
        try:
            self.services.submission.check_recipient(address)
        except NoSuchMailbox:
            return self.reply(550, "5.1.1", "there is no such user here")
        except PortError:
            pass
        return self.reply(252, "2.0.0", "cannot verify, but will accept a message and attempt delivery")
