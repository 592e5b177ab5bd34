"""Commands that extensions bring: STARTTLS, AUTH, BDAT, ETRN, XCLIENT."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.registry import SyntaxProblem, raw_arguments
from protocols.reply import Reply

from . import xclient as xclient_attributes
from .commands import command
from .grammar import Refusal
from .session import ANY_STATE, BDAT, RCPT, READY, START, SmtpSession

CHUNK_STEP_OCTETS = 1 << 20
"""A chunk is taken from the input in pieces of at most this size."""

# --- STARTTLS (RFC 3207) ----------------------------------------------------------------------------------------------


@command("STARTTLS", states={START, READY}, usage="STARTTLS", capability="STARTTLS")
async def starttls(session: SmtpSession, _: None) -> Reply:
    """RFC 3207 section 4. What came in the open behind the command is dropped unread (CVE-2011-0411)."""
    connection = session.connection
    if not connection.tls_available:
        return session.reply(
            503 if connection.tls else 454, "5.5.1" if connection.tls else "4.7.0", "TLS not available"
        )
    session.send(session.reply(220, "2.0.0", "ready to start TLS"))
    await session.flush()
    await connection.start_tls()
    await session.tls_started()
    return b""


# --- AUTH (RFC 4954) --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuthArguments:
    """The arguments of AUTH."""

    mechanism: str
    initial: bytes | None


def auth_arguments(rest: bytes) -> AuthArguments:
    """`AUTH mechanism [initial-response]`. Raises Refusal."""
    words = rest.split()
    if not 1 <= len(words) <= 2 or not words[0].isascii():
        raise Refusal(501, "5.5.4", "syntax: AUTH mechanism [initial-response]")
    return AuthArguments(words[0].decode().upper(), words[1] if len(words) == 2 else None)


@command("AUTH", states={READY}, syntax=auth_arguments, usage="AUTH mechanism [initial-response]", capability="AUTH")
async def auth(session: SmtpSession, arguments: AuthArguments) -> Reply:
    """RFC 4954 section 4."""
    if session.user:
        return session.reply(503, "5.5.1", "already authenticated")
    if not session.extended:
        return session.reply(503, "5.5.1", f"send {session.greeting_verbs[0]} first")
    return await session.authenticate(arguments.mechanism, arguments.initial)


# --- CHUNKING (RFC 3030) ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chunk:
    """The arguments of BDAT."""

    octets: int
    last: bool


def bdat_arguments(rest: bytes) -> Chunk:
    """`BDAT size [LAST]`. Raises Refusal.

    Where the size cannot be read the stream has lost its place: what follows would be taken for commands.
    """
    words = rest.split()
    if not 1 <= len(words) <= 2 or not words[0].isdigit() or len(words[0]) > 20:
        raise Refusal(501, "5.5.4", "syntax: BDAT size [LAST]")
    if len(words) == 2 and words[1].upper() != b"LAST":
        raise Refusal(501, "5.5.4", "syntax: BDAT size [LAST]")
    return Chunk(int(words[0]), len(words) == 2)


@command("BDAT", states=ANY_STATE, syntax=bdat_arguments, usage="BDAT size [LAST]", capability="CHUNKING")
async def bdat(session: SmtpSession, chunk: Chunk) -> Reply:
    """RFC 3030 section 2. The chunk is read whatever the answer will be: the client sends it without waiting."""
    transaction = session.transaction
    if session.state not in (RCPT, BDAT) or transaction is None:
        await read_chunk(session, chunk.octets, None)
        session.count_bad_command()
        return session.no_message_now()
    if len(transaction.chunks) + chunk.octets > session.limits.message_bytes_max:
        await read_chunk(session, chunk.octets, None)
        return await session.finish_message(None)
    await read_chunk(session, chunk.octets, transaction.chunks)
    session.state = BDAT
    if not chunk.last:
        return session.reply(250, "2.0.0", f"{chunk.octets} octets received")
    return await session.finish_message(bytes(transaction.chunks))


async def read_chunk(session: SmtpSession, count: int, into: bytearray | None) -> None:
    """Append exactly `count` octets of input to `into`; without it they are dropped as they come.

    Raises ConnectionLost, DeadlinePassed.
    """
    buffer = session.connection.buffer
    while count:
        piece = buffer.some(min(count, CHUNK_STEP_OCTETS))
        if not piece:
            await session.more_inside()
            continue
        count -= len(piece)
        if into is not None:
            into += piece


# --- ETRN (RFC 1985) --------------------------------------------------------------------------------------------------


@command("ETRN", states={READY}, syntax=raw_arguments, usage="ETRN [@|#]node", capability="ETRN")
async def etrn(session: SmtpSession, argument: bytes) -> Reply:
    """RFC 1985 section 5: start the queue for a node. `@node` means subdomains too, `#` a named queue."""
    node = argument.decode("utf-8", "replace").lower()
    if not node or " " in node:
        raise SyntaxProblem("a node is needed")
    if "ETRN" not in session.services.submission.extensions:
        return session.reply(502, "5.5.1", "command not implemented")
    if node.startswith("#"):
        return session.reply(459, "4.5.4", f"node {node} not allowed: there are no named queues here")
    waiting = await session.services.submission.start_queue(node)
    if not waiting:
        return session.reply(251, "2.0.0", f"{session.voice.nothing_waits} {node}")
    return session.reply(253, "2.0.0", f"{waiting} pending messages for node {node} started")


# --- XCLIENT (Postfix) ------------------------------------------------------------------------------------------------


@command(
    "XCLIENT",
    states={START, READY},
    syntax=xclient_attributes.parse,
    usage="XCLIENT attribute=value ...",
    capability="XCLIENT",
)
async def xclient(session: SmtpSession, attributes: dict[str, str]) -> Reply:
    """Postfix's XCLIENT: a proxy or test tool on this machine says for whom it speaks. Begins the session anew."""
    if not session.xclient_allowed():
        return session.reply(550, "5.7.0", "XCLIENT is for this machine only")
    session.reset()
    session.state = START
    session.client = attributes.get("ADDR") or session.client
    session.peer_name = attributes.get("NAME", "")
    session.helo = attributes.get("HELO", "")
    session.forget_trace()
    if attributes.get("LOGIN"):
        session.user = session.actor.user = attributes["LOGIN"]
    return session.greeting()
