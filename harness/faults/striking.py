"""What a struck command looks like to its client: the reply in another shape, another reply, or the end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from protocols.ports import ConnectionLost
from protocols.reply import Reply, one_line

from .engine import ActiveFault, Faults, Run
from .model import STAGE_COMMAND, STAGE_REPLY
from .shaping import STEPS_PER_SECOND, Corruption, Shaper, Truncation, duplicated, without_untagged

DEFAULT_ERRORS = {
    "smtp": "451 4.3.0 fault script: try again later",
    "pop3": "-ERR [SYS/TEMP] fault script: try again later",
    "imap": "NO [UNAVAILABLE] fault script: try again later",
    "nntp": "403 fault script: try again later",
}
_CODE = re.compile(rb"[0-9]{3}(?:[ -]|$)")
_SHAPES = frozenset({"throttle", "trickle", "truncate", "corrupt", "duplicate", "drop-untagged", "lose-reply"})
_ENDINGS = frozenset({"disconnect", "reset", "half-close", "truncate", "lose-reply"})


def error_reply(session: Any, text: str) -> bytes:
    """An error in the words of the session's protocol."""
    protocol = session.protocol if session.protocol in DEFAULT_ERRORS else "smtp"
    line = one_line(text or DEFAULT_ERRORS[protocol])
    if protocol == "imap":
        if not line.startswith((b"* ", b"NO ", b"BAD ", b"OK ")):
            line = b"NO " + line
        if not line.startswith(b"* "):
            line = session.tag + b" " + line
    elif protocol == "pop3" and not line.startswith((b"-ERR", b"+OK")):
        line = b"-ERR " + line
    elif protocol in ("smtp", "nntp") and _CODE.match(line) is None:
        line = DEFAULT_ERRORS[protocol][:4].encode() + line
    return line + b"\r\n"


def _break_off(session: Any, verb: str) -> None:
    session.how_ended = f"fault: {verb}"
    if verb == "reset":
        session.connection.reset()
    else:
        session.connection.close()
    raise ConnectionLost


async def strike(faults: Faults, struck: list[ActiveFault], session: Any, run: Run) -> Reply:
    """Run a command under the faults that strike at it."""
    await session.flush()  # what was answered before is not the faults' business
    for active in struck:
        if active.fault.stage == STAGE_COMMAND or "." in active.fault.stage:
            answer = await _before(faults, active, session)
            if answer is not None:
                run = _constant(answer)
    shaping = [active for active in struck if active.fault.verb in _SHAPES]
    shaper = _shaper(shaping, session, faults) if shaping else None
    session.connection.filter = shaper or session.connection.filter
    try:
        reply: Reply = await run()
        for active in struck:
            if active.fault.stage == STAGE_REPLY:
                if active.fault.verb == "error":
                    reply = error_reply(session, active.fault.text)
                else:
                    await faults.act(active, session)
        endings = [active for active in struck if active.fault.verb in _ENDINGS and active.fault.stage == STAGE_REPLY]
        if shaper is None and not endings:
            return reply
        session.send(reply)
        await session.flush()
    finally:
        if shaper is not None:
            shaper.finish()
    await _end(session, shaper, [active.fault.verb for active in endings])
    return b""


def _constant(reply: bytes) -> Run:
    async def answer() -> Reply:
        return reply

    return answer


async def _before(faults: Faults, active: ActiveFault, session: Any) -> bytes | None:
    verb = active.fault.verb
    if verb == "error":
        return error_reply(session, active.fault.text)
    if verb in ("disconnect", "reset"):
        _break_off(session, verb)
    elif verb == "stall-tls":
        session.connection.start_tls = partial(_stalled_tls, active, session)
    else:
        await faults.act(active, session)
    return None


async def _stalled_tls(active: ActiveFault, session: Any) -> None:
    """Instead of the handshake: silence, until released, or the peer gives up."""
    if session.connection.tap is not None:
        session.connection.tap.muted = True  # the client's hello is no part of the dialogue
    peer_gone = asyncio.ensure_future(session.connection.more(None))
    held = asyncio.ensure_future(active.hold())
    try:
        while not held.done():
            await asyncio.wait((peer_gone, held), return_when=asyncio.FIRST_COMPLETED)
            if peer_gone.done():
                if peer_gone.exception() is not None or not peer_gone.result():
                    break
                session.connection.buffer.clear()  # the client's hello is not answered
                peer_gone = asyncio.ensure_future(session.connection.more(None))
    finally:
        peer_gone.cancel()
        held.cancel()
        await asyncio.gather(peer_gone, held, return_exceptions=True)
    _break_off(session, "stall-tls")


def _shaper(struck: list[ActiveFault], session: Any, faults: Faults) -> Shaper:
    shaper = Shaper(session.connection, session.services.clock)
    for active in struck:
        fault = active.fault
        if fault.verb == "throttle":
            shaper.step_octets = max(1, fault.bytes_per_second // STEPS_PER_SECOND)
            shaper.step_seconds = shaper.step_octets / fault.bytes_per_second
        elif fault.verb == "trickle":
            shaper.step_octets, shaper.step_seconds = 1, fault.seconds
        elif fault.verb == "truncate":
            shaper.transforms.append(Truncation(fault.octets, lambda: None))
        elif fault.verb == "corrupt":
            shaper.transforms.append(Corruption(fault.octets, fault.seed))
        elif fault.verb == "duplicate":
            shaper.transforms.append(duplicated)
        elif fault.verb == "drop-untagged":
            shaper.transforms.append(without_untagged(fault.text))
        else:
            shaper.transforms.append(_lost)
    return shaper


def _lost(octets: bytes) -> bytes:
    return b""


async def _end(session: Any, shaper: Shaper | None, verbs: list[str]) -> None:
    if not verbs:
        return
    if shaper is not None:
        await _idle(shaper)
    if "half-close" in verbs:
        session.connection.write_eof()
    if set(verbs) - {"half-close"}:
        _break_off(session, "reset" if "reset" in verbs else verbs[0])


async def _idle(shaper: Shaper) -> None:
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done: Callable[[], None] = lambda: None if waiter.done() else waiter.set_result(None)  # noqa: E731
    shaper.when_idle(done)
    await waiter
