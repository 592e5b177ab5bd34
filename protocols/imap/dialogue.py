"""Commands about the dialogue itself: CAPABILITY, NOOP, LOGOUT, ID, STARTTLS, AUTHENTICATE, LOGIN, ENABLE, IDLE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols import sasl
from protocols.reader import InputTooLong
from protocols.reply import Reply
from protocols.sasl import Failure
from protocols.sasl_dialogue import run_mechanism

from .capabilities import capability_code, capability_names, mechanism_names, plaintext_allowed, signing_off
from .errors import Bad, No
from .names import quote
from .scanner import Scanner
from .states import ANY, AUTHENTICATED, COMMANDS, NOT_AUTHENTICATED

if TYPE_CHECKING:
    from .session import ImapSession

ID_FIELDS_MAX = 30
ID_FIELD_OCTETS_MAX = 30
ID_VALUE_OCTETS_MAX = 1024
"""RFC 2971 section 3.3."""


def nothing(scanner: Scanner) -> None:
    """The syntax of a command without arguments."""
    scanner.end()


@COMMANDS.command("CAPABILITY", states=ANY, syntax=nothing)
async def capability(session: ImapSession, _: None) -> Reply:
    """RFC 9051 section 6.1.1."""
    return b"* " + capability_code(session) + b"\r\n" + session.ok(b"CAPABILITY completed")


@COMMANDS.command("NOOP", states=ANY, syntax=nothing)
async def noop(session: ImapSession, _: None) -> Reply:
    """RFC 9051 section 6.1.2: the peer is told what happened."""
    return session.ok(b"NOOP completed")


@COMMANDS.command("LOGOUT", states=ANY, syntax=nothing)
async def logout(session: ImapSession, _: None) -> Reply:
    """RFC 9051 section 6.1.3."""
    session.end("logout")
    return signing_off(session) + b"%s OK LOGOUT completed\r\n" % session.tag


def id_syntax(scanner: Scanner) -> dict[str, str | None]:
    """`NIL` or a list of field/value pairs (RFC 2971 section 3.3)."""
    scanner.space()
    fields: dict[str, str | None] = {}
    if not scanner.try_take(b"("):
        if scanner.nstring() is not None:
            raise Bad("a list or NIL is missing")
        scanner.end()
        return fields
    scanner.skip_spaces()
    while not scanner.try_take(b")"):
        if fields:
            scanner.space()
            if scanner.try_take(b")"):
                break
        name = scanner.string()
        scanner.space()
        value = scanner.nstring()
        if len(name) > ID_FIELD_OCTETS_MAX or len(value or b"") > ID_VALUE_OCTETS_MAX or len(fields) >= ID_FIELDS_MAX:
            raise Bad("the list is longer than RFC 2971 allows")
        fields[name.decode("utf-8", "replace")] = None if value is None else value.decode("utf-8", "replace")
    scanner.end()
    return fields


@COMMANDS.command("ID", states=ANY, syntax=id_syntax, capability="ID")
async def identify(session: ImapSession, fields: dict[str, str | None]) -> Reply:
    """RFC 2971."""
    session.client_id = fields
    if session.settings.personality == "exchange55":
        return b"* ID NIL\r\n" + session.ok(b"ID completed")
    mine = (("name", "mailjam"), ("version", session.settings.version), ("vendor", "mailjam"))
    pairs = b" ".join([quote(name.encode()) + b" " + quote(value.encode()) for name, value in mine])
    return b"* ID (" + pairs + b")\r\n" + session.ok(b"ID completed")


@COMMANDS.command("STARTTLS", states=NOT_AUTHENTICATED, syntax=nothing, capability="STARTTLS")
async def starttls(session: ImapSession, _: None) -> Reply:
    """RFC 9051 section 6.2.1. What was pipelined behind it is dropped with the plain connection."""
    if session.connection.tls:
        raise Bad("TLS is on already")
    if not session.connection.tls_available:
        raise No("TLS is not available here", code=b"UNAVAILABLE")
    session.send(b"%s OK Begin TLS negotiation now\r\n" % session.tag)
    await session.flush()
    session.client_id = {}
    await session.connection.start_tls()
    return b""


# --- login ------------------------------------------------------------------------------------------------------------


def login_syntax(scanner: Scanner) -> tuple[bytes, bytes]:
    """Name and password."""
    scanner.space()
    user = scanner.astring()
    scanner.space()
    password = scanner.astring()
    scanner.end()
    return user, password


@COMMANDS.command("LOGIN", states=NOT_AUTHENTICATED, syntax=login_syntax)
async def login(session: ImapSession, arguments: tuple[bytes, bytes]) -> Reply:
    """RFC 9051 section 6.2.3."""
    if not plaintext_allowed(session):
        raise No("a password may not cross this connection without TLS", code=b"PRIVACYREQUIRED")
    name, password = arguments
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return await refuse(session, "LOGIN failed")
    user = await session.services.directory.verify(text, password.decode("utf-8", "surrogateescape"))
    if user is None:
        return await refuse(session, "LOGIN failed")
    await session.logged_in(user)
    return welcome(session, b"LOGIN")


def welcome(session: ImapSession, verb: bytes) -> Reply:
    """The OK of a login, with the capabilities that it brought (RFC 9051 section 7.1)."""
    if session.settings.personality == "exchange55":
        return session.ok(verb + b" completed.")
    return session.ok(verb + b" completed", capability_code(session))


async def refuse(session: ImapSession, text: str) -> Reply:
    """The NO of a failed login; after too many the connection is closed."""
    session.login_failures += 1
    if session.limits.login_failure_delay_seconds:
        await session.flush()
        await session.services.clock.sleep(session.limits.login_failure_delay_seconds)
    refusal = b"%s NO [AUTHENTICATIONFAILED] %s\r\n" % (session.tag, text.encode())
    if session.login_failures >= session.limits.login_failures_max:
        session.end("too many failed logins")
        return refusal + b"* BYE Too many failed logins\r\n"
    return refusal


def authenticate_syntax(scanner: Scanner) -> tuple[str, bytes | None]:
    """A mechanism, and the initial response of SASL-IR (RFC 4959), which some clients send as a string."""
    scanner.space()
    mechanism = scanner.atom().decode("ascii").upper()
    initial = None
    if scanner.try_space():
        as_string = scanner.peek() in (-1, 0x22) and not scanner.at_end
        initial = scanner.string() if as_string else scanner.until(b" ")
    scanner.end()
    return mechanism, initial


@COMMANDS.command("AUTHENTICATE", states=NOT_AUTHENTICATED, syntax=authenticate_syntax)
async def authenticate(session: ImapSession, arguments: tuple[str, bytes | None]) -> Reply:
    """RFC 9051 section 6.2.2."""
    mechanism, initial = arguments
    offered = mechanism_names(session)
    if mechanism not in offered:
        if mechanism in sasl.OPEN_TEXT and not plaintext_allowed(session):
            raise No("a password may not cross this connection without TLS", code=b"PRIVACYREQUIRED")
        raise No("that mechanism is not available", code=b"CANNOT")
    if initial is not None and "SASL-IR" in session.settings.capabilities_hidden:
        raise Bad("an initial response is not allowed")
    outcome = await run_mechanism(session, mechanism, initial, prefix=b"+ ")
    if isinstance(outcome, Failure):
        if outcome.kind == "credentials":
            return await refuse(session, "AUTHENTICATE failed")
        raise Bad(outcome.text)
    await session.logged_in(outcome.user)
    return welcome(session, b"AUTHENTICATE")


def compress_syntax(scanner: Scanner) -> bytes:
    """An algorithm."""
    scanner.space()
    algorithm = scanner.word()
    scanner.end()
    return algorithm


@COMMANDS.command("UNAUTHENTICATE", states=AUTHENTICATED, syntax=nothing, capability="UNAUTHENTICATE")
async def unauthenticate(session: ImapSession, _: None) -> Reply:
    """RFC 8437: back to the state before login; TLS and compression stay."""
    session.logged_out()
    return b"%s OK UNAUTHENTICATE completed\r\n" % session.tag


@COMMANDS.command("COMPRESS", states=AUTHENTICATED, syntax=compress_syntax, capability="COMPRESS=DEFLATE")
async def compress(session: ImapSession, algorithm: bytes) -> Reply:
    """RFC 4978: both directions are DEFLATE from behind the OK on."""
    if algorithm != b"DEFLATE":
        raise Bad("the algorithm is DEFLATE")
    if session.connection.compressed:
        raise Bad("compression is on already", code=b"COMPRESSIONACTIVE")
    session.send(session.ok(b"DEFLATE active"))
    await session.flush()
    session.connection.start_compression()
    return b""


# --- what is switched on ----------------------------------------------------------------------------------------------

ENABLEABLE = ("CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "IMAP4REV2", "UIDONLY")


def enable_syntax(scanner: Scanner) -> list[str]:
    """Capability names."""
    names = []
    while scanner.try_space():
        names.append(scanner.atom().decode("ascii"))
    scanner.end()
    if not names:
        raise Bad("a capability is missing")
    return names


@COMMANDS.command("ENABLE", states=AUTHENTICATED, syntax=enable_syntax, capability="ENABLE")
async def enable(session: ImapSession, names: list[str]) -> Reply:
    """RFC 9051 section 6.3.1: what is not known is passed over."""
    offered = {name.upper(): name for name in capability_names(session)}
    done = []
    for name in names:
        key = name.upper()
        if key in ENABLEABLE and key in offered:
            switch_on(session, key)
            done.append(offered[key])
    line = " ".join(["* ENABLED", *done]).encode()
    return line + b"\r\n" + session.ok(b"ENABLE completed")


def switch_on(session: ImapSession, key: str) -> None:
    """Enable an extension; what it implies is enabled with it."""
    session.enabled.add(key)
    if key == "CONDSTORE":
        session.enable_condstore()
    elif key == "QRESYNC":
        session.enable_condstore()
        session.qresync = True
    elif key == "UTF8=ACCEPT":
        session.utf8 = True
    elif key == "UIDONLY":
        session.uidonly = True
    elif key == "IMAP4REV2":
        session.rev2 = session.utf8 = True


@COMMANDS.command("IDLE", states=AUTHENTICATED, syntax=nothing, capability="IDLE")
async def idle(session: ImapSession, _: None) -> Reply:
    """RFC 9051 section 6.3.13: changes are told at once until the peer says DONE."""
    session.send(b"+ idling\r\n")
    session.watching = True
    try:
        while True:
            session.send(session.updates())
            await session.after_updates()
            view = session.view
            if view is not None and view.gone_folder:
                return b""
            try:
                line = session.connection.buffer.line(session.limits.imap_line_bytes_max)
            except InputTooLong:
                line = b""
            if line is not None:
                break
            await session.more_inside()
    finally:
        session.watching = session.notify is not None
    if line.strip().upper() != b"DONE":
        raise Bad("IDLE ends with DONE")
    return session.ok(b"IDLE terminated")
