"""The attributes of XCLIENT, as Postfix's XCLIENT_README describes them."""

from __future__ import annotations

import ipaddress

from .grammar import Refusal, decode_xtext, is_domain

NAMES = frozenset({"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"})
UNKNOWN = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})


def parse(rest: bytes) -> dict[str, str]:
    """`name=value ...` with values in xtext; one that the proxy does not know is an empty string. Raises Refusal."""
    attributes: dict[str, str] = {}
    for word in rest.split():
        name_octets, equals, value_octets = word.partition(b"=")
        name = name_octets.decode("latin-1").upper()
        value = decode_xtext(value_octets.decode("latin-1"))
        if not equals or name not in NAMES or value is None:
            raise Refusal(501, "5.5.4", "an attribute is not known or not well-formed")
        attributes[name] = "" if value.upper() in UNKNOWN else value
    if not attributes:
        raise Refusal(501, "5.5.4", "syntax: XCLIENT attribute=value ...")
    if attributes.get("ADDR"):
        attributes["ADDR"] = _address(attributes["ADDR"])
    for name in ("NAME", "HELO"):
        if attributes.get(name) and not is_domain(attributes[name]):
            raise Refusal(501, "5.5.4", f"{name} is not a host name")
    for name in ("PORT", "DESTPORT"):
        if attributes.get(name) and not (attributes[name].isdigit() and int(attributes[name]) < 65536):
            raise Refusal(501, "5.5.4", f"{name} is not a port")
    return attributes


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text[5:] if text[:5].upper() == "IPV6:" else text))
    except ValueError:
        raise Refusal(501, "5.5.4", "ADDR is not an address") from None
