"""Delivery status notifications (RFC 3464) in multipart/report (RFC 6522), in UTF-8 form where needed (RFC 6533)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

RETURNED_OCTETS_MAX = 1 << 20
"""A message larger than this comes back as its header fields only, whatever RET says (RFC 3461 section 4.3)."""

FAILED, DELAYED, DELIVERED, RELAYED = "failed", "delayed", "delivered", "relayed"
_NOTIFY = {FAILED: "FAILURE", DELAYED: "DELAY", DELIVERED: "SUCCESS", RELAYED: "SUCCESS"}
_TITLES = {
    FAILED: "Undeliverable mail",
    DELAYED: "Delayed mail (still being tried)",
    DELIVERED: "Delivered mail",
    RELAYED: "Relayed mail",
}
_SENTENCES = {
    FAILED: "Your message could not be delivered to:",
    DELAYED: "Your message has not been delivered yet, and is still being tried, to:",
    DELIVERED: "Your message was delivered to:",
    RELAYED: "Your message was relayed to a system that sends no reports of success, for:",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message for one recipient."""

    address: str
    action: str
    """FAILED, DELAYED, DELIVERED or RELAYED."""
    status: str
    """RFC 3463: `5.1.1`."""
    text: str = ""
    """In words, or the reply of `remote_mta`."""
    remote_mta: str = ""


def is_wanted(outcome: Outcome, options: Mapping[str, Any]) -> bool:
    """Whether the sender wants a report of this outcome; failures are reported unless told otherwise (RFC 3461 4.1)."""
    recipient = options.get("recipients", {}).get(outcome.address, {})
    notify = recipient.get("notify")
    if notify is None:
        return outcome.action == FAILED
    return _NOTIFY[outcome.action] in notify


def report(
    hostname: str,
    reverse_path: str,
    options: Mapping[str, Any],
    octets: bytes,
    outcomes: Sequence[Outcome],
    *,
    arrived: float,
    now: float,
    token: str,
) -> bytes:
    """A report of outcomes of the same action, to the sender of a message.

    `arrived` and `now` are seconds since the epoch; `token` is unique to the report (Message-ID and boundary).
    """
    action = outcomes[0].action
    lines = [reverse_path, *(outcome.address for outcome in outcomes), *(outcome.text for outcome in outcomes)]
    utf8 = not all(map(str.isascii, lines))
    boundary = f"=_{token}"
    while boundary.encode() in octets:
        boundary += "_"
    kind = "message/global-delivery-status" if utf8 else "message/delivery-status"
    body = _part(boundary, "text/plain; charset=utf-8", "8bit", _words(hostname, action, outcomes))
    body += _part(boundary, kind, "8bit" if utf8 else "7bit", _fields(hostname, options, outcomes, arrived, utf8))
    body += _returned(boundary, options, octets, action)
    head = _lines(
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: <{reverse_path}>",
        f"Subject: {_TITLES[action]}",
        f"Date: {_date(now)}",
        f"Message-ID: <{token}@{hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
        "Content-Transfer-Encoding: 8bit",
    )
    return head + b"\r\n" + body + f"--{boundary}--\r\n".encode()


def _lines(*lines: str | None) -> bytes:
    return "".join(f"{line}\r\n" for line in lines if line is not None).encode("utf-8", "replace")


def _date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC))


def _part(boundary: str, kind: str, encoding: str, octets: bytes) -> bytes:
    head = _lines(f"--{boundary}", f"Content-Type: {kind}", f"Content-Transfer-Encoding: {encoding}")
    return head + b"\r\n" + octets + b"\r\n"  # the last line end is the boundary's (RFC 2046 section 5.1.1)


def _words(hostname: str, action: str, outcomes: Sequence[Outcome]) -> bytes:
    """The part for people."""
    said = [f"This is the mail system at {hostname}.", "", _SENTENCES[action], ""]
    for outcome in outcomes:
        source = f" ({outcome.remote_mta} said)" if outcome.remote_mta else ""
        said.append(f"<{outcome.address}>{source}: {_safe(outcome.text)}".rstrip(": "))
    return _lines(*said)


def _fields(
    hostname: str, options: Mapping[str, Any], outcomes: Sequence[Outcome], arrived: float, utf8: bool
) -> bytes:
    """RFC 3464 section 2: fields of the message, then a group for each recipient."""
    envid = options.get("envid")
    octets = _lines(
        f"Original-Envelope-Id: {envid}" if envid else None,
        f"Reporting-MTA: dns; {hostname}",
        f"Arrival-Date: {_date(arrived)}",
    )
    for outcome in outcomes:
        original = options.get("recipients", {}).get(outcome.address, {}).get("orcpt")
        kind = "utf-8" if utf8 and not outcome.address.isascii() else "rfc822"
        code = "smtp" if outcome.remote_mta else "X-mailjam"
        octets += b"\r\n" + _lines(
            f"Original-Recipient: {_safe(original)}" if original else None,
            f"Final-Recipient: {kind};{outcome.address}",
            f"Action: {outcome.action}",
            f"Status: {outcome.status}",
            f"Remote-MTA: dns; {_safe(outcome.remote_mta)}" if outcome.remote_mta else None,
            f"Diagnostic-Code: {code}; {_safe(outcome.text)}" if outcome.text else None,
        )
    return octets


def _returned(boundary: str, options: Mapping[str, Any], octets: bytes, action: str) -> bytes:
    """The message itself, or its header fields: always those where nothing failed (RFC 3461 section 6.2)."""
    binary = options.get("body") == "BINARYMIME"
    whole = action == FAILED and options.get("ret") != "HDRS" and len(octets) <= RETURNED_OCTETS_MAX and not binary
    if whole:
        kind = "message/global" if options.get("smtputf8") else "message/rfc822"
        return _part(boundary, kind, "7bit" if octets.isascii() else "8bit", octets)
    header, _, _ = octets.partition(b"\r\n\r\n")
    kind = "message/global-headers" if options.get("smtputf8") else "text/rfc822-headers"
    return _part(boundary, kind, "7bit" if header.isascii() else "8bit", header + b"\r\n")


def _safe(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)[:900]
