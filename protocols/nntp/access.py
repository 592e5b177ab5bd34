"""CAPABILITIES, MODE, AUTHINFO, STARTTLS, COMPRESS, DATE, HELP, QUIT.

RFC 3977 sections 5 and 7.1 to 7.2; RFC 4642, 4643, 4644 section 2.3, 8054.
"""

from __future__ import annotations

from datetime import UTC, datetime

from protocols.registry import SyntaxProblem
from protocols.reply import CRLF, Reply, line_block, one_line
from protocols.sasl import Success
from protocols.sasl_dialogue import run_mechanism

from .listing import list_keywords
from .session import ANY, READER, NntpSession, commands
from .syntax import text, words


def capabilities(session: NntpSession) -> list[bytes]:
    """The capability list for the state at hand (RFC 3977 section 3.3.2)."""
    settings, connection = session.settings, session.connection
    reading = session.state is READER
    found = ["VERSION 2", f"IMPLEMENTATION mailjam {settings.version}", "READER"]
    if reading:
        if session.posting_allowed:
            found.append("POST")
        if settings.nntp_transit:
            found += ["IHAVE", "STREAMING"]
        found += ["OVER MSGID", "HDR", "LIST " + b" ".join(list_keywords(session)).decode(), "NEWNEWS"]
        found += ["XPAT", "XGTITLE"]
    if not session.user and not connection.compressed:
        names = session.mechanisms()
        ways = (["USER"] if session.password_allowed else []) + (["SASL"] if names else [])
        # RFC 4643 section 3.1: AUTHINFO alone says that a login is possible after STARTTLS
        found.append(" ".join(["AUTHINFO", *ways]))
        if names:
            found.append("SASL " + " ".join(names))
    if connection.tls_available and not session.user and not connection.compressed:
        found.append("STARTTLS")
    if not connection.compressed:
        found.append("COMPRESS DEFLATE")
    hidden = settings.capabilities_hidden
    return [line.encode() for line in found if line.partition(" ")[0] not in hidden]


@commands.command("CAPABILITIES", states=ANY, syntax=words(0, 1), usage="CAPABILITIES [keyword]")
async def capabilities_(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 3977 section 5.2: the keyword changes nothing, as no extension defines one."""
    if arguments and not (arguments[0][:1].isalpha() and len(arguments[0]) >= 3):
        raise SyntaxProblem("a keyword is expected")
    return line_block(b"101 capability list:", capabilities(session))


@commands.command("MODE", states=ANY, syntax=words(1, 1), usage="MODE READER|STREAM")
async def mode(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 3977 section 5.3 and RFC 4644 section 2.3: this server never changes its mode."""
    keyword = arguments[0].upper()
    if keyword == b"READER":
        return session.welcome()
    if keyword == b"STREAM" and not session.exchange55 and session.settings.nntp_transit:
        return b"203 streaming permitted\r\n"
    raise SyntaxProblem("the mode is not known")


@commands.command("DATE", states=ANY)
async def date(session: NntpSession, _: None) -> Reply:
    """RFC 3977 section 7.1."""
    now = datetime.fromtimestamp(int(session.services.clock.time()), UTC)
    return b"111 " + now.strftime("%Y%m%d%H%M%S").encode() + CRLF


@commands.command("HELP", states=ANY)
async def help_(session: NntpSession, _: None) -> Reply:
    """RFC 3977 section 7.2."""
    hidden = session.settings.capabilities_hidden
    lines = [f"  {command.usage or command.verb}".encode() for command in commands if command.capability not in hidden]
    return line_block(b"100 commands of this server:", sorted(lines))


@commands.command("QUIT", states=ANY)
async def quit_(session: NntpSession, _: None) -> Reply:
    """RFC 3977 section 5.4."""
    session.end("logout")
    return b"205 closing connection\r\n"


# --- AUTHINFO ---------------------------------------------------------------------------------------------------------


@commands.command(
    "AUTHINFO",
    states=ANY,
    syntax=lambda rest: rest,
    usage="AUTHINFO USER name|PASS password|SASL mechanism [initial-response]",
    capability="AUTHINFO",
)
async def authinfo(session: NntpSession, rest: bytes) -> Reply:
    """RFC 4643."""
    keyword, _, argument = rest.partition(b" ")
    way = {b"USER": _user, b"PASS": _pass, b"SASL": _sasl}.get(keyword.upper())
    if way is None:
        raise SyntaxProblem("USER, PASS or SASL is expected")
    if session.user:
        return b"502 already logged in\r\n"
    if session.connection.compressed:
        return b"502 compression is on\r\n"
    return await way(session, argument)


async def _user(session: NntpSession, argument: bytes) -> Reply:
    """RFC 4643 section 2.3."""
    name = argument.strip(b" \t")
    if not name:
        raise SyntaxProblem("a name is expected")
    if not session.password_allowed:
        return b"483 use STARTTLS first\r\n"
    session.offered_name = text(name)
    return b"381 enter the password\r\n"


async def _pass(session: NntpSession, argument: bytes) -> Reply:
    """RFC 4643 section 2.3: the password is all that follows, as passwords may hold spaces."""
    if not argument:
        raise SyntaxProblem("a password is expected")
    if not session.password_allowed:
        return b"483 use STARTTLS first\r\n"
    name, session.offered_name = session.offered_name, None
    if name is None:
        return b"482 AUTHINFO USER comes first\r\n"
    user = await session.services.directory.verify(name, text(argument))
    return await _failed(session) if user is None else _logged_in(session, user)


async def _sasl(session: NntpSession, argument: bytes) -> Reply:
    """RFC 4643 section 2.4."""
    parts = argument.split()
    if not 1 <= len(parts) <= 2:
        raise SyntaxProblem("a mechanism is expected")
    name = text(parts[0]).upper()
    names = session.mechanisms()
    if name not in names:
        if name in ("PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER") and not session.password_allowed:
            return b"483 use STARTTLS first\r\n"
        return b"503 the mechanism is not available\r\n"
    initial = parts[1] if len(parts) == 2 else None
    outcome = await run_mechanism(session, name, initial, prefix=b"383 ", success_data=True)
    if isinstance(outcome, Success):
        reply = _logged_in(session, outcome.user)
        return b"283 " + outcome.line + CRLF if outcome.data else reply
    if outcome.kind == "credentials":
        return await _failed(session)
    # 504 is for bad base64 (RFC 3977 section 3.2.1), 482 for a response that breaks the mechanism's own rules
    code = b"481 " if outcome.kind == "cancelled" else b"504 " if "base64" in outcome.text else b"482 "
    return code + one_line(outcome.text) + CRLF


def _logged_in(session: NntpSession, user: str) -> bytes:
    session.user = session.actor.user = user
    session.state = READER
    return b"281 authentication accepted\r\n"


async def _failed(session: NntpSession) -> Reply:
    session.login_failures += 1
    if session.limits.login_failure_delay_seconds:
        await session.services.clock.sleep(session.limits.login_failure_delay_seconds)
    if session.login_failures >= session.limits.login_failures_max:
        session.end("too many failed logins")
    return b"481 authentication failed\r\n"


# --- layers under the dialogue ----------------------------------------------------------------------------------------


@commands.command("STARTTLS", states=ANY, capability="STARTTLS")
async def starttls(session: NntpSession, _: None) -> Reply:
    """RFC 4642 section 2.2. What was learned before TLS is forgotten; there is no second greeting."""
    connection = session.connection
    if connection.tls or connection.compressed or session.user:
        return b"502 STARTTLS is not possible any more\r\n"
    if not connection.tls_available:
        return b"580 TLS is not available here\r\n"
    session.send(b"382 continue with TLS negotiation\r\n")
    await session.flush()
    await connection.start_tls()
    session.reset()
    return b""


@commands.command("COMPRESS", states=ANY, syntax=words(1, 1), usage="COMPRESS DEFLATE", capability="COMPRESS")
async def compress(session: NntpSession, arguments: list[bytes]) -> Reply:
    """RFC 8054 section 2.2."""
    if arguments[0].upper() != b"DEFLATE":
        return b"503 the only algorithm here is DEFLATE\r\n"
    if session.connection.compressed:
        return b"502 compression is on already\r\n"
    session.send(b"206 compression is active\r\n")
    await session.flush()
    session.connection.start_compression()
    return b""
