"""The commands of RFC 5321: HELO, EHLO, MAIL, RCPT, DATA, RSET, VRFY, EXPN, HELP, NOOP, QUIT."""

from __future__ import annotations

from typing import Any, NamedTuple

from protocols.reader import InputTooLong
from protocols.registry import Command, raw_arguments
from protocols.reply import Reply

from . import parameters
from .grammar import Refusal, after_keyword, helo_name, mailbox, path
from .grammar import parameters as parse_parameters
from .personality import multi_line
from .session import ANY_STATE, MAIL, RCPT, READY, SmtpSession, Transaction

command = SmtpSession.commands.command

MAIL_USAGE = "MAIL FROM:<address> [parameters]"
RCPT_USAGE = "RCPT TO:<address> [parameters]"


class PathArguments(NamedTuple):
    """The arguments of MAIL and RCPT."""

    address: str
    given: dict[str, str | None]


def mail_arguments(rest: bytes) -> PathArguments:
    """`FROM:<reverse-path> [SP parameters]`. Raises Refusal."""
    address, behind = path(after_keyword(rest, b"FROM:", MAIL_USAGE), "5.1.7")
    return PathArguments(address, parse_parameters(behind))


def rcpt_arguments(rest: bytes) -> PathArguments:
    """`TO:<forward-path> [SP parameters]`. Raises Refusal."""
    address, behind = path(after_keyword(rest, b"TO:", RCPT_USAGE), "5.1.3")
    if not address:
        raise Refusal(501, "5.1.3", "the null path is no recipient")
    return PathArguments(address, parse_parameters(behind))


@command("HELO", states=ANY_STATE, syntax=helo_name, usage="HELO domain")
async def helo(session: SmtpSession, name: str) -> Reply:
    """RFC 5321 section 4.1.1.1."""
    return await session.accept_helo(name, extended=False)


@command("EHLO", states=ANY_STATE, syntax=helo_name, usage="EHLO domain")
async def ehlo(session: SmtpSession, name: str) -> Reply:
    """RFC 5321 section 4.1.1.1."""
    return await session.accept_helo(name, extended=True)


@command("MAIL", states={READY}, syntax=mail_arguments, usage=MAIL_USAGE)
async def mail(session: SmtpSession, arguments: PathArguments) -> Reply:
    """RFC 5321 section 4.1.1.2."""
    if session.settings.smtp_tls_required and not session.connection.tls:
        raise Refusal(530, "5.7.0", "must issue a STARTTLS command first")
    if session.settings.login_required and not session.user:
        raise Refusal(530, "5.7.0", "Authentication required")
    options: dict[str, Any] = {}
    if arguments.given:
        options = parameters.read(parameters.MAIL, arguments.given, session.offered, session.circumstances())
    if not arguments.address.isascii() and "smtputf8" not in options:
        raise Refusal(553, "5.6.7", "a non-ASCII address needs SMTPUTF8")
    return await session.accept_sender(Transaction(arguments.address, options), arguments.given)


@command("RCPT", states={MAIL, RCPT}, syntax=rcpt_arguments, usage=RCPT_USAGE)
async def rcpt(session: SmtpSession, arguments: PathArguments) -> Reply:
    """RFC 5321 section 4.1.1.3."""
    transaction = session.transaction
    assert transaction is not None
    if len(transaction.recipients) >= session.limits.recipients_max:
        raise Refusal(452, "4.5.3", "too many recipients")  # RFC 5321 section 4.5.3.1.10; KB Q272672
    options: dict[str, Any] = {}
    if arguments.given:
        options = parameters.read(parameters.RCPT, arguments.given, session.offered, session.circumstances())
    if not arguments.address.isascii() and "smtputf8" not in transaction.options:
        raise Refusal(553, "5.6.7", "a non-ASCII address needs SMTPUTF8")
    return await session.accept_recipient(arguments.address, options, arguments.given)


@command("DATA", states={RCPT}, usage="DATA")
async def data(session: SmtpSession, _: None) -> Reply:
    """RFC 5321 section 4.1.1.4. The message is cut out of the input in one piece."""
    transaction = session.transaction
    assert transaction is not None
    if transaction.options.get("body") == "BINARYMIME":
        raise Refusal(503, "5.5.1", "BODY=BINARYMIME needs BDAT")  # RFC 3030 section 3
    maximum = session.limits.message_bytes_max
    session.send(session.voice.start_data)
    try:
        # dot-stuffing adds at most an octet to each line, and a line that begins with a dot has three octets at least
        octets = await session.continuation_block(maximum + maximum // 3 + 1)
    except InputTooLong:
        return await session.finish_message(None)
    return await session.finish_message(octets)


@command("RSET", states=ANY_STATE, usage="RSET")
async def rset(session: SmtpSession, _: None) -> Reply:
    """RFC 5321 section 4.1.1.5."""
    return await session.accept_rset()


@command("NOOP", states=ANY_STATE, syntax=raw_arguments, usage="NOOP [string]")
async def noop(session: SmtpSession, argument: bytes) -> Reply:
    """RFC 5321 section 4.1.1.9."""
    return await session.accept_noop(argument)


@command("QUIT", states=ANY_STATE, usage="QUIT")
async def quit_(session: SmtpSession, _: None) -> Reply:
    """RFC 5321 section 4.1.1.10."""
    return await session.accept_quit()


def lookup_argument(rest: bytes) -> str:
    """What VRFY and EXPN ask for: a mailbox, bare or in angle brackets, or a user's name. Raises Refusal.

    The parameter SMTPUTF8 is accepted (RFC 6531 section 3.7.4).
    """
    text = rest.strip(b" ")
    if text[-9:].upper() == b" SMTPUTF8":
        text = text[:-9].rstrip(b" ")
    if not text:
        raise Refusal(501, "5.5.4", "say whom you look for")
    return mailbox(text)


@command("VRFY", states=ANY_STATE, syntax=lookup_argument, usage="VRFY address", capability="VRFY")
async def vrfy(session: SmtpSession, address: str) -> Reply:
    """RFC 5321 section 3.5."""
    return await session.accept_vrfy(address)


@command("EXPN", states=ANY_STATE, syntax=lookup_argument, usage="EXPN list", capability="EXPN")
async def expn(session: SmtpSession, address: str) -> Reply:
    """RFC 5321 section 3.5: the members of a distribution list."""
    members = session.services.directory.members(address)
    if not members:
        return session.reply(550, "5.1.1", "there is no such list here")
    prefix = "2.1.5 " if session.voice.enhanced else ""
    host = session.settings.hostname
    return multi_line(250, [f"{prefix}<{name if '@' in name else f'{name}@{host}'}>" for name in members])


def _withheld(session: SmtpSession, known: Command[SmtpSession]) -> bool:
    return bool(known.capability) and session.is_withheld(known)


@command("HELP", states=ANY_STATE, syntax=raw_arguments, usage="HELP [command]", capability="HELP")
async def help_(session: SmtpSession, topic: bytes) -> Reply:
    """RFC 5321 section 4.1.1.8."""
    prefix = "2.0.0 " if session.voice.enhanced else ""
    if topic:
        known = session.commands.find(topic)
        if known is None or _withheld(session, known):
            return session.reply(504, "5.5.4", "there is no help on this")
        return multi_line(214, [f"{prefix}syntax: {known.usage}"])
    verbs = [known.verb for known in session.commands if not _withheld(session, known)]
    lines = [" ".join(verbs[start : start + 8]) for start in range(0, len(verbs), 8)]
    return multi_line(214, [f"{prefix}{line}" for line in ["commands:", *lines, "HELP command tells its syntax"]])
