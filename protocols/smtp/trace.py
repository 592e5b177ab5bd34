"""The Received field (RFC 5321 section 4.4) and what may not stand in a message's octets."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from .grammar import Refusal

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_date_second = -1
_date_text = b""


def date_time(seconds: float) -> bytes:
    """A date-time of RFC 5322 section 3.3, in UTC. Messages of one second share the text."""
    global _date_second, _date_text  # noqa: PLW0603 - a cache of one entry on the hottest path
    second = int(seconds)
    if second != _date_second:
        when = datetime.fromtimestamp(second, UTC)
        day = f"{_DAYS[when.weekday()]}, {when.day} {_MONTHS[when.month - 1]} {when.year:04}"
        _date_text = f"{day} {when:%H:%M:%S} +0000".encode()
        _date_second = second
    return _date_text


def received(prefix: bytes, identifier: str, only_recipient: str, seconds: float, priority: int | None = None) -> bytes:
    """The whole field. `prefix` is everything up to the identifier; `for` names a recipient only if it is the only one.

    RFC 5321 section 7.6: naming one of several recipients would tell the others. `priority`: what MT-PRIORITY asked for
    (RFC 6710 section 6).
    """
    line = b"%b id %b" % (prefix, identifier.encode())
    if only_recipient:
        line += b"\r\n\tfor <%b>" % only_recipient.encode()
    if priority is not None:
        line += b"\r\n\tPRIORITY %d" % priority
    return b"%b; %b\r\n" % (line, date_time(seconds))


_HOP = re.compile(rb"(?:^|\n)received[ \t]*:", re.IGNORECASE)


def check_hops(octets: bytes, hops_max: int) -> None:
    """Refuse a message that goes in a circle. Raises Refusal."""
    header_octets = octets.find(b"\r\n\r\n")
    if 0 <= header_octets <= hops_max * len(b"Received:\r\n"):
        return  # so many do not fit
    header = octets if header_octets < 0 else octets[:header_octets]
    hops = sum(1 for _ in _HOP.finditer(header))
    if hops > hops_max:
        raise Refusal(554, "5.4.6", f"too many hops: {hops} Received fields")


_HIDDEN_END = re.compile(rb"(?:^|\n)\0++\.\0*+\r\n")
"""In the unstuffed message. (A line of a dot and NULs is stuffed again when it is sent on, which makes it harmless.)"""


def check_lines(octets: bytes, *, nul_refused: bool) -> None:
    """Refuse what another server could read as another message (SMTP smuggling, RFC 5321 section 2.3.8).

    A bare CR and a bare LF may not stand in a message that came by DATA, nor by BDAT without BODY=BINARYMIME. NUL may,
    where settings do not say otherwise, but for the line that would be a lone dot to a server which drops NULs. Raises
    Refusal.
    """
    line_ends = octets.count(b"\r\n")
    if len(octets) - len(octets.translate(None, b"\r\n")) != 2 * line_ends:  # one CR, one LF in each, and no others
        bare = "CR" if octets.count(b"\n") == line_ends else "LF"
        raise Refusal(550, "5.6.0", f"bare {bare} in the message: lines end with CRLF (RFC 5321 section 2.3.8)")
    if b"\0" in octets and (nul_refused or _HIDDEN_END.search(octets)):
        what = "NUL" if nul_refused else "a line of NUL and a lone dot"
        raise Refusal(550, "5.6.0", f"{what}: send it by BDAT with BODY=BINARYMIME (RFC 3030)")
