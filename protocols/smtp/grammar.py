"""The grammar of SMTP's arguments: paths, parameters, xtext (RFC 5321 section 4.1.2, RFC 3461 section 4, RFC 6531).

Everything here is linear in the length of the command line, which the session bounds.
"""

from __future__ import annotations

import ipaddress
import re

from protocols.registry import SyntaxProblem

DOMAIN_OCTETS_MAX = 255
"""RFC 5321 section 4.5.3.1.2."""
PATH_OCTETS_MAX = 1024
"""With room for long local parts, such as variable envelope return paths; RFC 5321 section 4.5.3.1.3 asks for 256."""
LABEL_OCTETS_MAX = 63
"""RFC 1035 section 2.3.4."""

_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+"
_QUOTED = rb'"(?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\x20-\x7e])*+"'
_DOMAIN = rb"[A-Za-z0-9_\x80-\xff.-]+"
_LITERAL = rb"\[[\x21-\x5a\x5e-\x7e]+\]"
_LOCAL = rb"(?:" + _ATOM + rb"(?:\." + _ATOM + rb")*+|" + _QUOTED + rb")"
_ROUTE = rb"(?:@(?:" + _DOMAIN + rb"|" + _LITERAL + rb")(?:,@(?:" + _DOMAIN + rb"|" + _LITERAL + rb"))*+:)?"
_MAILBOX = rb"(?P<local>" + _LOCAL + rb")(?:@(?P<domain>" + _DOMAIN + rb"|" + _LITERAL + rb"))?"
_PATH = re.compile(rb"<" + _ROUTE + _MAILBOX + rb">")
_WORD = rb"[A-Za-z0-9_+=-]++"
_PLAIN_PATH = re.compile(rb"<(" + _WORD + rb"(?:\." + _WORD + rb")*+@[A-Za-z0-9]++(?:[.-][A-Za-z0-9]++)*+)>")
"""What most paths look like, and what needs no further look as long as it is short."""
_BARE_MAILBOX = re.compile(_MAILBOX)
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\xff]+))?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HELO_DOMAIN = re.compile(rb"[A-Za-z0-9_\x80-\xff](?:[A-Za-z0-9_.\x80-\xff-]*)")


class Refusal(SyntaxProblem):
    """A command that is answered by a reply of its own: code, enhanced status code (RFC 3463) and text."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.enhanced = enhanced


def after_keyword(rest: bytes, keyword: bytes, usage: str) -> bytes:
    """What follows `FROM:` or `TO:`, in any case.

    Quirk: a space behind the colon is passed over, as many clients send one (RFC 5321 section 3.3 knows of the error).
    """
    if rest.startswith(b" "):
        rest = rest.lstrip(b" ")
    if rest[: len(keyword)].upper() != keyword:
        raise Refusal(501, "5.5.4", f"syntax: {usage}")
    return rest[len(keyword) :].lstrip(b" ")


def path(octets: bytes, enhanced: str) -> tuple[str, bytes]:
    """A path in angle brackets at the start of `octets`: the mailbox and what follows it.

    The null path is an empty mailbox. A source route is accepted and ignored (RFC 5321 appendix C). Raises Refusal with
    `enhanced` (5.1.7 for senders, 5.1.3 for recipients).
    """
    plain = _PLAIN_PATH.match(octets)
    if plain is not None and plain.end() <= LABEL_OCTETS_MAX:
        return plain[1].decode("ascii"), octets[plain.end() :]
    if octets.startswith(b"<>"):
        return "", octets[2:]
    match = _PATH.match(octets)
    if match is None:
        if not octets.startswith(b"<"):
            raise Refusal(501, enhanced, "the address must stand in angle brackets")
        raise Refusal(501, enhanced, "the address is not well-formed")
    return _mailbox(match, enhanced), octets[match.end() :]


def mailbox(octets: bytes, enhanced: str = "5.1.3") -> str:
    """A mailbox or local part with or without angle brackets, as VRFY takes it. Raises Refusal."""
    match = _PATH.fullmatch(octets) or _BARE_MAILBOX.fullmatch(octets)
    if match is None:
        raise Refusal(501, enhanced, "the address is not well-formed")
    return _mailbox(match, enhanced)


def _mailbox(match: re.Match[bytes], enhanced: str) -> str:
    local, domain = match["local"], match["domain"]
    if domain is not None:
        _check_domain(domain, enhanced)
    octets = local if domain is None else local + b"@" + domain
    if len(octets) > PATH_OCTETS_MAX:
        raise Refusal(501, enhanced, "path too long")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(501, enhanced, "the address is not UTF-8") from None


def _check_domain(domain: bytes, enhanced: str) -> None:
    if domain.startswith(b"["):
        if not is_address_literal(domain):
            raise Refusal(501, enhanced, "the address literal is not well-formed")
        return
    if len(domain) > DOMAIN_OCTETS_MAX:
        raise Refusal(501, enhanced, "path too long")
    for label in domain.split(b"."):
        if not label or len(label) > LABEL_OCTETS_MAX or label.startswith(b"-") or label.endswith(b"-"):
            raise Refusal(501, enhanced, "the domain is not well-formed")


def is_address_literal(octets: bytes) -> bool:
    """`[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3)."""
    text = octets[1:-1].decode("latin-1")
    try:
        if text[:5].upper() == "IPV6:":
            ipaddress.IPv6Address(text[5:])
        else:
            ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def helo_name(rest: bytes) -> str:
    """The argument of HELO, EHLO and LHLO. Raises SyntaxProblem.

    RFC 5321 section 4.1.4: a name is not refused because it is not the peer's; anything without white space and control
    characters is taken, and `is_domain` tells what may be repeated in a trace field.
    """
    name = rest.strip(b" ")
    if not name or len(name) > DOMAIN_OCTETS_MAX or any(octet <= 32 or octet == 127 for octet in name):
        raise SyntaxProblem("a domain or address literal is needed")
    return name.decode("utf-8", "replace")


def is_domain(name: str) -> bool:
    """Whether a name given with EHLO can stand in a trace field as it is."""
    octets = name.encode()
    return _HELO_DOMAIN.fullmatch(octets) is not None or (octets.startswith(b"[") and is_address_literal(octets))


def parameters(rest: bytes) -> dict[str, str | None]:
    """ESMTP parameters behind a path, in their order: upper-case keyword to value (None: no `=`). Raises Refusal."""
    if not rest:
        return {}
    if not rest.startswith(b" "):
        raise Refusal(501, "5.5.4", "a space must stand between the path and its parameters")
    found: dict[str, str | None] = {}
    for piece in rest.split(b" "):
        if not piece:
            continue
        match = _PARAMETER.fullmatch(piece)
        if match is None:
            raise Refusal(501, "5.5.4", "a parameter is not well-formed")
        keyword = match[1].decode().upper()
        if keyword in found:
            raise Refusal(501, "5.5.4", f"parameter {keyword} is given twice")
        try:
            found[keyword] = None if match[2] is None else match[2].decode("utf-8")
        except UnicodeDecodeError:
            raise Refusal(501, "5.5.4", "a parameter is not UTF-8") from None
    return found


def decode_xtext(text: str) -> str | None:
    """RFC 3461 section 4; None when it is not xtext, or holds what is not printable US-ASCII."""
    if _XTEXT.fullmatch(text) is None:
        return None
    if "+" not in text:
        return text
    plain = re.sub(r"\+([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text)
    return plain if all(" " <= character <= "~" for character in plain) else None


def encode_xtext(text: str) -> str:
    """The inverse of `decode_xtext`, for printable US-ASCII."""
    return "".join(
        character if "!" <= character <= "~" and character not in "+=" else f"+{ord(character):02X}"
        for character in text
    )
