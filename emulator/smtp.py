"""SMTP and LMTP on the wire: an aiosmtpd server that reads as the other front-ends do, and aiosmtpd's handlers on it.

`SmtpServer` is an `aiosmtpd.smtp.SMTP`: what a handler is given as `server` has its attributes and methods. It shares
its transport (`Connection`: octets pumped into a bounded buffer, messages cut out of it in one piece, replies written
once per batch) with POP3, IMAP4 and NNTP, and the dialogue (`protocols.smtp`) is sans-IO like theirs. aiosmtpd's own
reading (a StreamReader, a line at a time) and its inspection of the handler for each connection are not used.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import shlex
import warnings
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from typing import Any, NoReturn

from aiosmtpd.proxy_protocol import get_proxy
from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope
from aiosmtpd.smtp import Session as HandlerView

from protocols.ports import ConnectionLost, PortError, Services
from protocols.reply import Reply
from protocols.sasl import RESPONSE_OCTETS_MAX
from protocols.smtp import LmtpSession, SmtpSession
from protocols.smtp.grammar import Refusal
from protocols.smtp.session import MAIL, RCPT, READY, START, Transaction

from .config import SettingsError
from .loop_thread import LoopThread
from .transport import Connection


class Plug:
    """An aiosmtpd handler, inspected once for all connections."""

    def __init__(self, handler: Any, thread: LoopThread | None = None) -> None:
        """`thread`: where what it does with messages is run; None: on the loop of all."""
        self.handler = handler
        self.thread = thread
        self.hooks: dict[str, Any] = {
            name.removeprefix("handle_"): getattr(handler, name) for name in dir(handler) if name.startswith("handle_")
        }
        self.mechanisms: dict[str, Any] = {
            getattr(method, "__auth_mechanism_name__", name.removeprefix("auth_").replace("__", "-")): method
            for name, method in inspect.getmembers(handler)
            if name.startswith("auth_") and callable(method)
        }
        self.ehlo_version = None
        if "EHLO" in self.hooks:
            arguments = len(inspect.signature(self.hooks["EHLO"]).parameters)
            if arguments not in (4, 5):
                raise SettingsError("--handler: handle_EHLO must take 4 or 5 arguments, as in aiosmtpd's manual")
            self.ehlo_version = "new" if arguments == 5 else "old"

    @property
    def takes_messages(self) -> bool:
        """Whether messages go to the handler; otherwise they go into the spool as without one."""
        return "DATA" in self.hooks or hasattr(self.handler, "process_message")


def load_handler(specification: str) -> Any:
    """`package.module:Class` or `package.module:object`, and behind it arguments as in a shell. Raises SettingsError.

    A class with `from_cli` is made by it, as aiosmtpd's own command line does; others take the arguments as strings.
    """
    try:
        name, *arguments = shlex.split(specification)
    except ValueError as error:
        raise SettingsError(f"--handler {specification!r}: {error}") from None
    module_name, colon, name = name.partition(":")
    if not colon or not name:
        raise SettingsError(f"--handler {specification!r}: write package.module:Class")
    try:
        found = getattr(importlib.import_module(module_name), name)
        if not isinstance(found, type):
            return found
        from_cli = getattr(found, "from_cli", None)
        return found(*arguments) if from_cli is None else from_cli(_ArgumentParser(), *arguments)
    except Exception as error:  # whatever the user's module raises is told in a line
        raise SettingsError(f"--handler {specification}: {type(error).__name__}: {error}") from error


class _ArgumentParser(argparse.ArgumentParser):
    """What `from_cli` is given: it may complain, and nothing else is to come of that."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


class SmtpServer(Connection, SMTP):
    """One SMTP peer: the connection, and aiosmtpd's server as its handlers know it."""

    session: Any
    transport: Any
    _tls_protocol: Any = None
    """aiosmtpd and its handlers ask this for whether TLS is on."""
    __ident__ = "mailjam"

    def __init__(self, *arguments: Any, plug: Plug | None = None, **keywords: Any) -> None:
        # aiosmtpd's constructor is passed over: it inspects the handler anew for each connection
        Connection.__init__(self, *arguments, **keywords)
        self.plug = plug
        if plug is not None:
            self._look_like_aiosmtpd(plug)

    def _look_like_aiosmtpd(self, plug: Plug) -> None:
        front_end = self._settings.front_end
        self.loop = asyncio.get_running_loop()
        self.event_handler = plug.handler
        self.hostname = front_end.hostname
        self.data_size_limit = front_end.limits.message_bytes_max
        self.enable_SMTPUTF8 = "SMTPUTF8" not in front_end.capabilities_hidden
        self.tls_context = self._tls_context
        self.require_starttls = False
        self._decode_data = False
        self._handle_hooks = plug.hooks
        self._auth_methods = {}
        self._auth_require_tls = not front_end.plaintext_login
        self._auth_required = front_end.login_required
        self._authenticator = None
        self._auth_callback = self._check_password
        self.envelope = Envelope()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._tls_protocol = transport.get_extra_info("ssl_object")
        super().connection_made(transport)

    async def start_tls(self) -> None:
        await super().start_tls()
        assert self._transport is not None
        self.transport = self._transport
        self._tls_protocol = self._transport.get_extra_info("ssl_object")

    def _check_password(self, mechanism: str, login: bytes, password: bytes) -> bool:
        assert self.session is not None
        directory = self.session.services.directory
        name, secret = login.decode("utf-8", "surrogateescape"), password.decode("utf-8", "surrogateescape")
        return directory.authenticate(name, secret) is not None

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Deadlines are the session's: there is no timer to reset."""

    async def push(self, status: str | bytes) -> None:
        """Add a reply to the batch. Handlers call this."""
        assert self.session is not None
        self.session.send((status if isinstance(status, bytes) else status.encode("utf-8")) + b"\r\n")

    async def challenge_auth(
        self, challenge: str | bytes, encode_to_b64: bool = True, log_client_response: bool = False
    ) -> Any:
        """Send a challenge and return the client's response, or MISSING. A handler's `auth_` methods call this."""
        assert self.session is not None
        octets = challenge.encode() if isinstance(challenge, str) else challenge
        await self.push(b"334 " + (b64encode(octets) if encode_to_b64 else octets))
        line = (await self.session.continuation_line(RESPONSE_OCTETS_MAX + 2)).strip()
        if line == b"*":
            await self.push("501 5.7.0 Auth aborted")
            return MISSING
        try:
            return b64decode(line, validate=True)
        except Base64Error:
            await self.push("501 5.5.2 Can't decode base64")
            return MISSING


class Plugged(SmtpSession, HandlerView):
    """A dialogue that asks an aiosmtpd handler. It is also what handlers are given as `session`."""

    def __init__(self, connection: SmtpServer, services: Services) -> None:
        super().__init__(connection, services)
        assert connection.plug is not None
        self.server = connection
        self.plug = connection.plug
        self.proxy_data = None
        self.loop = connection.loop
        self._look_new()

    def _look_new(self) -> None:
        """The attributes of aiosmtpd's Session, at connect and after STARTTLS."""
        transport = self.server.transport
        self.peer = transport.get_extra_info("peername")
        self.ssl = None
        if self.server.tls:
            names = ("ssl_object", "sslcontext", "peercert", "cipher", "compression")
            self.ssl = {name: transport.get_extra_info(name) for name in names}
        self.host_name: str | None = None
        self.extended_smtp = False
        self._login_data: Any = None
        self.auth_data: Any = None
        self.authenticated: bool | None = None
        self.refused_after_tls = False

    async def _loop(self) -> None:
        if self.server.proxied_header and not await self._proxy_is_welcome():
            self._out.clear()
            self.end("refused by handle_PROXY")
        await super()._loop()

    async def _proxy_is_welcome(self) -> bool:
        """Ask handle_PROXY; where the handler has none, every proxy is."""
        reader = asyncio.StreamReader()
        reader.feed_data(self.server.proxied_header)
        reader.feed_eof()
        self.proxy_data = await get_proxy(reader)
        return bool(await self.ask("PROXY", self.proxy_data))  # MISSING is true

    # --- calling hooks ------------------------------------------------------------------------------------------------

    async def ask(self, hook: str, *arguments: Any) -> Any:
        """What the handler's hook returns, as octets where it is a status; MISSING when there is no such hook."""
        function = self.plug.hooks.get(hook)
        if function is None:
            return MISSING
        return await self._guarded(function, self.server, self, self.server.envelope, *arguments)

    async def _take_message(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the hook for messages returns."""
        if self.plug.thread is None:
            return await self._guarded(function, *arguments)
        return await self._guarded(self.plug.thread.run, function, *arguments)

    async def _guarded(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            status = function(*arguments)
            return await status if inspect.isawaitable(status) else status
        except (PortError, ConnectionLost, Refusal):
            raise
        except Exception as error:  # a handler's fault is answered as aiosmtpd answers it
            try:
                return await self.server.handle_exception(error)
            except Exception as second:  # and so is a fault of the handler's handle_exception
                return f"500 Error: ({type(second).__name__}) {second}"

    @staticmethod
    def line(status: Any) -> bytes:
        """A status as reply lines."""
        octets = status if isinstance(status, bytes) else str(status).encode("utf-8", "replace")
        return octets.rstrip(b"\r\n") + b"\r\n"

    def reset(self) -> None:
        super().reset()
        self.server.envelope = self.server._create_envelope()

    async def execute(self, verb: bytes, rest: Any) -> None:
        if self.refused_after_tls and verb.upper() != b"QUIT":
            self.send(b"554 Command refused due to lack of security\r\n")  # RFC 3207 section 4.1
            return
        await super().execute(verb, rest)

    # --- the steps that a handler may take ----------------------------------------------------------------------------

    async def accept_helo(self, name: str, *, extended: bool) -> Reply:
        default = await super().accept_helo(name, extended=extended)
        assert isinstance(default, bytes)
        self.extended_smtp = extended
        hook = "EHLO" if extended else "HELO"
        if hook not in self.plug.hooks:
            self.host_name = name
            return default
        self.state, self.host_name = START, None
        reply = await self._asked_helo(hook, name, default)
        if self.host_name:
            self.state, self.helo = READY, self.host_name
        return reply

    async def _asked_helo(self, hook: str, name: str, default: bytes) -> Reply:
        if hook == "HELO":
            return self.line(await self.ask("HELO", name))
        lines = default.decode("utf-8", "replace").split("\r\n")[:-1]
        if self.plug.ehlo_version == "old":
            status = await self.ask("EHLO", name)
            return b"".join(self.line(f"{line[:3]}-{line[4:]}") for line in lines) + self.line(status)
        answer = await self.ask("EHLO", name, lines)
        return b"".join(map(self.line, answer if isinstance(answer, list | tuple) else [answer]))

    async def accept_sender(self, transaction: Transaction, given: dict[str, str | None]) -> Reply:
        envelope = self.server.envelope
        assert envelope is not None
        address, options = transaction.reverse_path or "<>", _options(given)
        envelope.smtp_utf8 = "smtputf8" in transaction.options
        status = await self.ask("MAIL", address, options)
        if status is MISSING:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        if envelope.mail_from is not None:
            transaction.reverse_path = "" if envelope.mail_from == "<>" else envelope.mail_from
            transaction.recipients = envelope.rcpt_tos
            self.transaction, self.state = transaction, MAIL
        return self.voice.sender_ok(address) if status is MISSING else self.line(status)

    async def accept_recipient(self, address: str, options: dict[str, Any], given: dict[str, str | None]) -> Reply:
        envelope, transaction = self.server.envelope, self.transaction
        assert envelope is not None
        assert transaction is not None
        status = await self.ask("RCPT", address, _options(given))
        if status is MISSING:
            if not self.plug.takes_messages:
                return await super().accept_recipient(address, options, given)
            self.add_recipient(address, options)
            envelope.rcpt_options.extend(_options(given))
            return self.voice.recipient_ok(address)
        transaction.recipients = envelope.rcpt_tos
        if envelope.rcpt_tos:
            self.state = RCPT
            if options and envelope.rcpt_tos[-1] == address:
                transaction.recipient_options[address] = options
        else:
            transaction.refused += 1
        return self.line(status)

    async def accept_message(self, octets: bytes) -> Reply:
        envelope = self.server.envelope
        assert envelope is not None
        envelope.content = envelope.original_content = octets
        if "DATA" in self.plug.hooks:
            status = await self._take_message(self.plug.hooks["DATA"], self.server, self, envelope)
        elif self.plug.takes_messages:
            warnings.warn("use handle_DATA() instead of process_message()", DeprecationWarning, stacklevel=2)
            status = await self._take_message(
                self.plug.handler.process_message, self.peer, envelope.mail_from, envelope.rcpt_tos, octets
            )
        else:
            return await super().accept_message(octets)
        return self.message_status(b"250 OK\r\n" if status is MISSING or status is None else self.line(status))

    def message_status(self, reply: bytes) -> bytes:
        """The handler's reply to a message."""
        return reply

    async def accept_rset(self) -> Reply:
        default = await super().accept_rset()
        status = await self.ask("RSET")
        return default if status is MISSING else self.line(status)

    async def accept_noop(self, argument: bytes) -> Reply:
        status = await self.ask("NOOP", argument.decode("utf-8", "surrogateescape") or None)
        return await super().accept_noop(argument) if status is MISSING else self.line(status)

    async def accept_quit(self) -> Reply:
        default = await super().accept_quit()
        status = await self.ask("QUIT")
        return default if status is MISSING else self.line(status)

    async def accept_vrfy(self, address: str) -> Reply:
        status = await self.ask("VRFY", address)
        return await super().accept_vrfy(address) if status is MISSING else self.line(status)

    async def tls_started(self) -> None:
        await super().tls_started()
        self._look_new()
        hook = self.plug.hooks.get("STARTTLS")
        if hook is not None:
            self.refused_after_tls = not hook(self.server, self, self.server.envelope)

    # --- AUTH ---------------------------------------------------------------------------------------------------------

    def mechanisms(self) -> tuple[str, ...]:
        own = super().mechanisms()
        if self.server._auth_require_tls and not self.server.tls:
            return own
        return own + tuple(name for name in self.plug.mechanisms if name not in own)

    async def authenticate(self, mechanism: str, initial: bytes | None) -> Reply:
        arguments = [mechanism] if initial is None else [mechanism, initial.decode("latin-1")]
        status = await self.ask("AUTH", arguments)
        if status is not MISSING:
            if self.authenticated:
                self.user = self.actor.user = _name_of(self.auth_data)
            return b"" if status is None else self.line(status)
        if mechanism not in self.plug.mechanisms:
            reply = await super().authenticate(mechanism, initial)
            if self.user:
                self.authenticated, self.auth_data, self._login_data = True, self.user, self.user.encode()
            return reply
        result = await self._guarded(self.plug.mechanisms[mechanism], self.server, arguments)
        return await self._mechanism_ended(result)

    async def _mechanism_ended(self, result: Any) -> Reply:
        """What a handler's `auth_` method returned: an AuthResult, or None, MISSING, False or an identity."""
        if not isinstance(result, AuthResult):
            if result is None:
                return b""
            if isinstance(result, str) and result[:3].isdigit():  # from handle_exception
                return self.line(result)
            result = AuthResult(success=result is not MISSING and result is not False, handled=False, auth_data=result)
        if result.success:
            self.authenticated, self.auth_data = True, result.auth_data
            self._login_data = getattr(result.auth_data, "login", None)
            self.user = self.actor.user = _name_of(result.auth_data)
            self.forget_trace()
            return self.line(result.message or "235 2.7.0 Authentication successful")
        if result.handled:
            return b""
        if result.message:
            return self.line(result.message)
        return await self.login_failed("Authentication credentials invalid")


class PluggedLmtp(Plugged, LmtpSession):
    """As `Plugged`, for LMTP: a handler's single status stands for each recipient."""

    def message_status(self, reply: bytes) -> bytes:
        assert self.transaction is not None
        return reply * len(self.transaction.recipients) if reply.count(b"\r\n") == 1 else reply


def _options(given: dict[str, str | None]) -> list[str]:
    """Parameters as aiosmtpd gives them to handlers, but for the case of values, which ENVID and ORCPT need."""
    return [keyword if value is None else f"{keyword}={value}" for keyword, value in given.items()]


def _name_of(data: Any) -> str:
    login = getattr(data, "login", data)
    return login.decode("utf-8", "replace") if isinstance(login, bytes) else str(login) if login else "authenticated"


def smtp_session(services: Services, *, lmtp: bool = False) -> Callable[[Connection], SmtpSession]:
    """What makes the session of a connection, for `transport.FrontEnd`."""

    def make(connection: Connection) -> SmtpSession:
        if isinstance(connection, SmtpServer) and connection.plug is not None:
            return (PluggedLmtp if lmtp else Plugged)(connection, services)
        return (LmtpSession if lmtp else SmtpSession)(connection, services)

    return make


def smtp_connection(plug: Plug | None = None) -> Callable[..., SmtpServer]:
    """What makes a connection, for `transport.FrontEnd`."""

    def make(*arguments: Any, **keywords: Any) -> SmtpServer:
        return SmtpServer(*arguments, plug=plug, **keywords)

    return make
