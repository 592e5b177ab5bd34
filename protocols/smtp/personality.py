"""The two voices of the server: `modern`, and `exchange55`, the words of Exchange Server 5.5 (KB Q262945, Q190084)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from protocols.reply import one_line
from protocols.settings import FrontEndSettings

from .grammar import is_domain

if TYPE_CHECKING:
    from .session import SmtpSession


def address_of(peer: str) -> str:
    """The address in a peer's `address:port` or `[address]:port`; other peers (Unix sockets) as they are."""
    if peer.startswith("["):
        return peer[1:].partition("]")[0]
    host, colon, port = peer.rpartition(":")
    return host if colon and port.isdigit() else peer


def is_loopback(peer: str) -> bool:
    """Whether the peer is on this machine."""
    try:
        return ipaddress.ip_address(address_of(peer).partition("%")[0]).is_loopback
    except ValueError:
        return address_of(peer) == "local"


def literal(address: str) -> str:
    """An address as it stands in a trace field: `[192.0.2.1]`, `[IPv6:2001:db8::1]`."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _ascii(text: str) -> str:
    return one_line(text, 255).decode("utf-8", "ignore").encode("ascii", "replace").decode()


class Voice:
    """Reply texts of the modern personality."""

    enhanced = True
    unknown = b"500 5.5.1 command not recognized\r\n"
    nested_mail = b"503 5.5.1 sender already specified\r\n"
    start_data = b"354 end data with <CR><LF>.<CR><LF>\r\n"
    nothing_waits = "no messages waiting for node"
    reset = b"250 2.0.0 OK\r\n"

    def knows(self, extension: str) -> bool:
        """Whether the extension was part of this personality."""
        return True

    def greeting(self, settings: FrontEndSettings) -> bytes:
        return f"220 {settings.hostname} ESMTP mailjam {settings.version} ready\r\n".encode()

    def helo(self, settings: FrontEndSettings, name: str, client: str) -> bytes:
        return f"250 {settings.hostname}\r\n".encode()

    def ehlo(self, settings: FrontEndSettings, name: str, client: str, extensions: list[tuple[str, str]]) -> bytes:
        lines = [f"{settings.hostname} greets {_ascii(name)}", *(" ".join(filter(None, pair)) for pair in extensions)]
        return multi_line(250, lines)

    def sender_ok(self, address: str) -> bytes:
        return b"250 2.1.0 OK\r\n"

    def recipient_ok(self, address: str) -> bytes:
        return b"250 2.1.5 OK\r\n"

    def message_ok(self, name: str) -> bytes:
        return b"250 2.0.0 OK: queued as %b\r\n" % name.encode()

    def bye(self, settings: FrontEndSettings) -> bytes:
        return f"221 2.0.0 {settings.hostname} closing connection\r\n".encode()

    def received_from(self, session: SmtpSession, utf8: bool) -> bytes:
        """The trace field up to its identifier (RFC 5321 section 4.4; protocol names of RFC 3848 and RFC 6531)."""
        name = session.helo if is_domain(session.helo) and (utf8 or session.helo.isascii()) else "unknown"
        peer = literal(session.client) if session.client != "local" else "[local socket]"
        info = f"{session.peer_name} {peer}" if session.peer_name else peer
        protocol = "LMTP" if session.protocol == "lmtp" else "ESMTP" if session.extended else "SMTP"
        if utf8:
            protocol = f"UTF8{protocol.removeprefix('E')}"
        if session.extended:
            protocol += ("S" if session.connection.tls else "") + ("A" if session.user else "")
        host = session.settings.hostname
        return f"Received: from {name} ({info})\r\n\tby {host} (mailjam) with {protocol}".encode()


class Exchange55(Voice):
    """Reply texts of the Internet Mail Service 5.5."""

    enhanced = False
    unknown = b"500 Command not recognized\r\n"
    nested_mail = b"503 Sender already specified.\r\n"
    start_data = b"354 Send data.  End with CRLF.CRLF\r\n"
    nothing_waits = "No mail messages waiting for node"
    reset = b"250 OK\r\n"
    extensions = frozenset({"HELP", "ETRN", "DSN", "SIZE", "AUTH", "VRFY"})

    def knows(self, extension: str) -> bool:
        """RFC 1652, RFC 2197, RFC 1893 and what came later were "not available in Exchange 5.5" (KB Q262986)."""
        return extension in self.extensions

    def greeting(self, settings: FrontEndSettings) -> bytes:
        service = f"Microsoft Exchange Internet Mail Service {settings.build}"
        return f"220 {settings.hostname} ESMTP Server ({service}) ready\r\n".encode()

    def helo(self, settings: FrontEndSettings, name: str, client: str) -> bytes:
        return f"250 OK {settings.hostname} Hello [{client}]\r\n".encode()

    def ehlo(self, settings: FrontEndSettings, name: str, client: str, extensions: list[tuple[str, str]]) -> bytes:
        """The list of KB Q262945, without what is hidden or cannot be had; 8BITMIME and others were not known."""
        known = dict(extensions)
        lines = [f"{settings.hostname} Hello [{client}]"]
        lines += [keyword for keyword in ("HELP", "ETRN", "DSN") if keyword in known]
        if "SIZE" in known:
            lines.append("SIZE 0")  # that is: no fixed limit is announced (RFC 1870 section 4)
        if "LOGIN" in known.get("AUTH", "").split():
            lines += ["AUTH LOGIN", "AUTH=LOGIN"]
        return multi_line(250, lines)

    def sender_ok(self, address: str) -> bytes:
        return f"250 OK - mail from <{address}>\r\n".encode("ascii", "replace")

    def recipient_ok(self, address: str) -> bytes:
        return f"250 OK - Recipient <{address}>\r\n".encode("ascii", "replace")

    def message_ok(self, name: str) -> bytes:
        return b"250 OK\r\n"

    def bye(self, settings: FrontEndSettings) -> bytes:
        return b"221 Closing Port / Mail queued for delivery\r\n"

    def received_from(self, session: SmtpSession, utf8: bool) -> bytes:
        """The stamp of KB Q190084."""
        name = session.helo if is_domain(session.helo) and (utf8 or session.helo.isascii()) else "unknown"
        service = f"Microsoft Exchange Internet Mail Service Version {session.settings.build}"
        host = session.settings.hostname
        return f"Received: from {name} ([{session.client}]) by {host} with SMTP ({service})\r\n\t".encode()


_VOICES: dict[str, Voice] = {"modern": Voice(), "exchange55": Exchange55()}


def voice(settings: FrontEndSettings) -> Voice:
    """The voice of the personality that is set."""
    return _VOICES.get(settings.personality, _VOICES["modern"])


def multi_line(code: int, lines: list[str]) -> bytes:
    """A reply of several lines: a hyphen behind the code in all but the last (RFC 5321 section 4.2.1)."""
    last = len(lines) - 1
    return b"".join(
        b"%d%b%b\r\n" % (code, b"-" if number < last else b" ", line.encode("ascii", "replace"))
        for number, line in enumerate(lines)
    )
