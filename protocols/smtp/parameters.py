"""The parameters of MAIL and RCPT: which extension brings each, what values it takes, what is kept of it.

What is kept goes to `Submission.submit` as `options`, JSON values only:

    body        "8BITMIME" or "BINARYMIME"                       RFC 6152, RFC 3030
    smtputf8    True                                             RFC 6531
    ret, envid  "FULL" or "HDRS"; the identifier, decoded        RFC 3461
    requiretls  True                                             RFC 8689
    priority    -9 to 9                                          RFC 6710
    hold_until  seconds since the epoch                          RFC 4865
    auth        the mailbox that submitted it, or ""             RFC 4954 section 5
    recipients  {address: {"notify": [...], "orcpt": "..."}}     RFC 3461
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .grammar import Refusal, decode_xtext

HOLD_SECONDS_MAX = 30 * 86400
"""How far ahead a release may lie (RFC 4865 section 4: announced in the reply to EHLO)."""
ENVID_OCTETS_MAX = 100
"""RFC 3461 section 4.4."""
ORCPT_OCTETS_MAX = 500
"""RFC 3461 section 4.2."""
NOTIFY_KEYWORDS = frozenset({"SUCCESS", "FAILURE", "DELAY"})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the meaning of a parameter depends on."""

    message_bytes_max: int
    tls: bool
    now: float
    """Seconds since the epoch."""


Reader = Callable[[str | None, Circumstances, dict[str, Any]], None]


def _bad(keyword: str, wanted: str) -> Refusal:
    return Refusal(501, "5.5.4", f"{keyword} must be {wanted}")


def _size(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 20:
        raise _bad("SIZE", "a number of up to 20 digits")
    if now.message_bytes_max and int(value) > now.message_bytes_max:
        raise Refusal(552, "5.3.4", "message size exceeds fixed maximum message size")


def _body(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    body = (value or "").upper()
    if body not in ("7BIT", "8BITMIME", "BINARYMIME"):
        raise _bad("BODY", "7BIT, 8BITMIME or BINARYMIME")
    if body != "7BIT":
        options["body"] = body


def _smtputf8(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    if value is not None:
        raise Refusal(501, "5.5.4", "SMTPUTF8 takes no value")
    options["smtputf8"] = True


def _auth(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    mailbox = decode_xtext(value) if value is not None else None
    if mailbox is None:
        raise _bad("AUTH", "<> or a mailbox in xtext")
    options["auth"] = "" if mailbox == "<>" else mailbox


def _ret(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    if value is None or value.upper() not in ("FULL", "HDRS"):
        raise _bad("RET", "FULL or HDRS")
    options["ret"] = value.upper()


def _envid(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    identifier = decode_xtext(value) if value is not None and len(value) <= ENVID_OCTETS_MAX else None
    if not identifier:
        raise _bad("ENVID", f"xtext of up to {ENVID_OCTETS_MAX} octets")
    options["envid"] = identifier


def _requiretls(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    if value is not None:
        raise Refusal(501, "5.5.4", "REQUIRETLS takes no value")
    if not now.tls:
        raise Refusal(530, "5.7.10", "REQUIRETLS needs TLS")  # RFC 8689 section 4.2.1
    options["requiretls"] = True


def _priority(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    digits = (value or "").removeprefix("-")
    if len(digits) != 1 or digits not in "0123456789" or value == "-0":
        raise _bad("MT-PRIORITY", "a number from -9 to 9")
    options["priority"] = int(value or "0")


def _hold(options: dict[str, Any], until: float, now: Circumstances) -> None:
    if "hold_until" in options:
        raise Refusal(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other")
    if until - now.now > HOLD_SECONDS_MAX:
        raise Refusal(554, "5.7.5", "the time of release is too far ahead")
    options["hold_until"] = until


def _holdfor(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 9 or value.startswith("0"):
        raise _bad("HOLDFOR", "seconds, 1 or more, of up to 9 digits")
    _hold(options, now.now + int(value), now)


def _holduntil(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    try:
        when = datetime.fromisoformat(value or "")
    except ValueError:
        when = datetime.min
    if when.tzinfo is None or "T" not in (value or ""):
        raise _bad("HOLDUNTIL", "a date and time with zone as in RFC 3339")
    _hold(options, when.timestamp(), now)


def _notify(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    keywords = (value or "").upper().split(",")
    if keywords != ["NEVER"] and (not set(keywords) <= NOTIFY_KEYWORDS or len(set(keywords)) != len(keywords)):
        raise _bad("NOTIFY", "NEVER, or of SUCCESS, FAILURE and DELAY those that are wanted")
    options["notify"] = [] if keywords == ["NEVER"] else keywords


def _orcpt(value: str | None, now: Circumstances, options: dict[str, Any]) -> None:
    kind, semicolon, address = (value or "").partition(";")
    if kind.lower() == "utf-8" and semicolon and address and len(address) <= ORCPT_OCTETS_MAX:
        options["orcpt"] = f"utf-8;{address}"  # RFC 6533 section 3
        return
    plain = decode_xtext(address) if semicolon and len(value or "") <= ORCPT_OCTETS_MAX else None
    if not plain or not kind or not kind.isascii() or not kind.replace("-", "").isalnum():
        raise _bad("ORCPT", "an address type, a semicolon and xtext")
    options["orcpt"] = f"{kind};{plain}"


MAIL: Mapping[str, tuple[str, Reader]] = {
    "SIZE": ("SIZE", _size),
    "BODY": ("8BITMIME", _body),
    "SMTPUTF8": ("SMTPUTF8", _smtputf8),
    "AUTH": ("AUTH", _auth),
    "RET": ("DSN", _ret),
    "ENVID": ("DSN", _envid),
    "REQUIRETLS": ("REQUIRETLS", _requiretls),
    "MT-PRIORITY": ("MT-PRIORITY", _priority),
    "HOLDFOR": ("FUTURERELEASE", _holdfor),
    "HOLDUNTIL": ("FUTURERELEASE", _holduntil),
}
"""Parameters of MAIL: the extension that brings each, and what reads its value."""

RCPT: Mapping[str, tuple[str, Reader]] = {"NOTIFY": ("DSN", _notify), "ORCPT": ("DSN", _orcpt)}
"""Parameters of RCPT."""


def read(
    known: Mapping[str, tuple[str, Reader]],
    given: Mapping[str, str | None],
    offered: frozenset[str],
    circumstances: Circumstances,
) -> dict[str, Any]:
    """What is kept of the parameters. Raises Refusal: 555 for one that was not offered (RFC 5321 section 4.1.1.11)."""
    options: dict[str, Any] = {}
    for keyword, value in given.items():
        extension, reader = known.get(keyword, ("", None))
        if reader is None or extension not in offered:
            raise Refusal(555, "5.5.4", f"parameter {keyword} is not recognized or not implemented")
        reader(value, circumstances, options)
        if options.get("body") == "BINARYMIME" and "BINARYMIME" not in offered:
            raise Refusal(555, "5.5.4", "BODY=BINARYMIME is not implemented")
    return options


def last_release(now: float) -> str:
    """The furthest time of release, as the reply to EHLO announces it (RFC 4865 section 4)."""
    when = datetime.fromtimestamp(now, UTC) + timedelta(seconds=HOLD_SECONDS_MAX)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
