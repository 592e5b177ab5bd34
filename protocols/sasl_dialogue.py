"""How a SASL exchange runs inside a command of a line protocol (POP3 AUTH, NNTP AUTHINFO SASL)."""

from __future__ import annotations

from typing import Any

from .reader import InputTooLong
from .sasl import RESPONSE_OCTETS_MAX, Challenge, Failure, Success, start
from .session import Session


async def run_mechanism(
    session: Session[Any], name: str, initial: bytes | None, *, prefix: bytes, success_data: bool = False
) -> Success | Failure:
    """Let the peer go through the mechanism `name`, each challenge behind `prefix`, until it succeeds or fails.

    `success_data`: whether the protocol's own success reply can carry the server's last word (RFC 4643: 283).
    Raises ConnectionLost, DeadlinePassed.
    """
    services = session.services
    exchange = start(
        name,
        services.directory,
        random_octets=services.random_octets,
        hostname=session.settings.hostname,
        binding=session.connection.channel_binding,
        success_data=success_data,
    )
    if exchange is None:
        return Failure("the mechanism is not available", "malformed")
    outcome = await exchange.begin(initial)
    while isinstance(outcome, Challenge):
        session.send(prefix + outcome.line + b"\r\n")
        try:
            line = await session.continuation_line(RESPONSE_OCTETS_MAX + 2)
        except InputTooLong:
            return Failure("the response is too long", "malformed")
        outcome = await exchange.proceed(line)
    return outcome
