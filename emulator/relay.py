"""One attempt to hand a message to the smart host, through aiosmtplib (RFC 5321, the client's side)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiosmtplib

from protocols.smtp.grammar import encode_xtext

from .config import SettingsError
from .downgrade import EIGHT_BIT, SEVEN_BIT, CannotDowngrade, downgrade
from .dsn import DELIVERED, FAILED, RELAYED, Outcome
from .spool import Envelope

RECEIVED_FIELDS_MAX = 100
"""More of them, and the message goes in circles (RFC 5321 section 6.3)."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where mail for other domains goes."""

    name: str
    port: int
    user: str = ""
    password: str = ""
    implicit_tls: bool = False


def parse_smarthost(text: str) -> Host:
    """`[smtps://][USER:PASSWORD@]HOST:PORT`. Raises SettingsError."""
    implicit_tls = text.startswith("smtps://")
    credentials, at, place = text.removeprefix("smtps://").rpartition("@")
    name, colon, port = place.rpartition(":")
    user, password_mark, password = credentials.partition(":")
    if not colon or not name or not port.isdigit() or not 0 < int(port) < 65536 or (at and not password_mark):
        raise SettingsError(f"--smarthost {place or text!r}: write HOST:PORT, as in --smarthost mail.example.com:25")
    return Host(name.strip("[]"), int(port), user, password, implicit_tls)


@dataclass(slots=True)
class Attempt:
    """What came of it."""

    outcomes: list[Outcome] = field(default_factory=list)
    """Recipients that are settled: taken by the other side, or refused for good."""
    waiting: list[str] = field(default_factory=list)
    """Recipients to try again."""
    reason: str = ""
    """Why they have to wait."""


async def relay(
    host: Host, hostname: str, envelope: Envelope, octets: bytes, *, seconds_max: float, as_it_is: bool = False
) -> Attempt:
    """Connect, send, quit. Whatever goes wrong is in the result; `seconds_max` bounds each step.

    `as_it_is`: the end of the message is sent behind its last octet, whether a line ends there or not (KB Q146993).
    """
    problem = _unsendable(envelope, octets)
    if problem is not None:
        return _all_failed(envelope.recipients, *problem)
    strict = bool(envelope.options.get("requiretls"))
    client = aiosmtplib.SMTP(
        hostname=host.name,
        port=host.port,
        username=host.user or None,
        password=host.password or None,
        local_hostname=hostname,
        timeout=seconds_max,
        use_tls=host.implicit_tls,
        start_tls=None if not strict or host.implicit_tls else True,
        tls_context=_client_context(verify=strict),
    )
    try:
        try:
            await client.connect()
        except aiosmtplib.SMTPResponseException as error:  # a greeting or login that says no: perhaps not tomorrow
            return Attempt(waiting=list(envelope.recipients), reason=f"{error.code} {error.message}")
        return await _send(client, host, envelope, octets, as_it_is)
    except aiosmtplib.SMTPResponseException as error:
        return _refused(envelope.recipients, host, error.code, error.message)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        if strict and "STARTTLS" in str(error).upper():
            return _all_failed(envelope.recipients, "5.7.30", "REQUIRETLS: the next host has no TLS")
        return Attempt(waiting=list(envelope.recipients), reason=f"{host.name}: {error or type(error).__name__}")
    finally:
        await _leave(client)


def _client_context(*, verify: bool) -> ssl.SSLContext:
    """TLS is opportunistic (RFC 7435), so certificates are only checked where REQUIRETLS was asked for."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _unsendable(envelope: Envelope, octets: bytes) -> tuple[str, str] | None:
    header = octets[: octets.find(b"\r\n\r\n")]
    if header.count(b"\nReceived:") + header.startswith(b"Received:") > RECEIVED_FIELDS_MAX:
        return "5.4.6", "the message goes in circles"
    return None


def _fitted(client: aiosmtplib.SMTP, envelope: Envelope, octets: bytes) -> tuple[bytes, str]:
    """The message as the next host takes it, and its BODY (RFC 3030 section 3). Raises CannotDowngrade."""
    body = str(envelope.options.get("body", ""))
    binary = body == "BINARYMIME"
    if binary and client.supports_extension("binarymime") and client.supports_extension("chunking"):
        return octets, body
    if client.supports_extension("8bitmime"):
        if binary:
            octets = downgrade(octets, EIGHT_BIT)
        return octets, "8BITMIME" if body == "8BITMIME" or not octets.isascii() else ""
    if binary or not octets.isascii():
        octets = downgrade(octets, SEVEN_BIT)
    return octets, ""


def _all_failed(recipients: Sequence[str], status: str, text: str) -> Attempt:
    return Attempt([Outcome(address, FAILED, status, text) for address in recipients])


async def _send(
    client: aiosmtplib.SMTP, host: Host, envelope: Envelope, octets: bytes, as_it_is: bool = False
) -> Attempt:
    options = envelope.options
    strict, utf8 = bool(options.get("requiretls")), bool(options.get("smtputf8"))
    if client.is_ehlo_or_helo_needed:
        await client.ehlo()
    if strict and not client.supports_extension("requiretls"):
        return _all_failed(envelope.recipients, "5.7.30", "REQUIRETLS: the next host does not support it")
    if utf8 and not client.supports_extension("smtputf8"):
        return _all_failed(envelope.recipients, "5.6.7", "the next host does not support SMTPUTF8")
    body = "8BITMIME" if options.get("body") == "8BITMIME" and client.supports_extension("8bitmime") else ""
    if not as_it_is:
        try:
            octets, body = _fitted(client, envelope, octets)
        except CannotDowngrade as error:
            return _all_failed(envelope.recipients, "5.6.3", f"the next host takes no such message: {error}")
    encoding = "utf-8" if utf8 else "ascii"
    reports = client.supports_extension("dsn")
    await client.mail(
        envelope.reverse_path, options=_mail_options(client, envelope, len(octets), body), encoding=encoding
    )
    attempt, taken = Attempt(), []
    for address in envelope.recipients:
        try:
            wishes = _rcpt_options(envelope, address) if reports else []
            await client.rcpt(address, options=wishes, encoding=encoding)
            taken.append(address)
        except aiosmtplib.SMTPRecipientRefused as error:
            _merge(attempt, _refused([address], host, error.code, error.message))
    if not taken:
        return attempt
    try:
        if body == "BINARYMIME":
            await _bdat(client, octets)
        else:
            await (_data_as_it_is(client, octets) if as_it_is else client.data(octets))
    except aiosmtplib.SMTPDataError as error:
        _merge(attempt, _refused(taken, host, error.code, error.message))
        return attempt
    # a host that sends reports of success itself was asked to; for others the relaying is reported (RFC 3461 6.2.4)
    action = DELIVERED if reports else RELAYED
    attempt.outcomes += [Outcome(address, action, "2.0.0", "", host.name) for address in taken]
    return attempt


async def _data_as_it_is(client: aiosmtplib.SMTP, octets: bytes) -> None:
    """DATA whose last line may lack its end: then the dot behind it ends nothing. Raises SMTPDataError."""
    assert client.protocol is not None
    start = await client.execute_command(b"DATA")
    if start.code != 354:
        raise aiosmtplib.SMTPDataError(start.code, start.message)
    lines, _, last = octets.replace(b"\r\n.", b"\r\n..").rpartition(b"\r\n")
    client.protocol.write(lines + b"\r\n" if lines else b"")
    reply = await client.execute_command(last + b".")
    if reply.code != 250:
        raise aiosmtplib.SMTPDataError(reply.code, reply.message)


async def _bdat(client: aiosmtplib.SMTP, octets: bytes) -> None:
    """The message in one chunk (RFC 3030). Raises SMTPDataError."""
    assert client.protocol is not None
    client.protocol.write(b"BDAT %d LAST\r\n" % len(octets) + octets)
    reply = await client.protocol.read_response(timeout=client.timeout)
    if reply.code != 250:
        raise aiosmtplib.SMTPDataError(reply.code, reply.message)


def _mail_options(client: aiosmtplib.SMTP, envelope: Envelope, size: int, body: str) -> list[str]:
    options, found = envelope.options, []
    if client.supports_extension("size"):
        found.append(f"SIZE={size}")
    if body:
        found.append(f"BODY={body}")
    if options.get("smtputf8"):
        found.append("SMTPUTF8")
    if options.get("requiretls"):
        found.append("REQUIRETLS")
    if "priority" in options and client.supports_extension("mt-priority"):
        found.append(f"MT-PRIORITY={options['priority']}")
    if client.supports_extension("dsn"):
        if "ret" in options:
            found.append(f"RET={options['ret']}")
        if "envid" in options:
            found.append(f"ENVID={encode_xtext(options['envid'])}")
    return found


def _rcpt_options(envelope: Envelope, address: str) -> list[str]:
    wishes, found = envelope.options.get("recipients", {}).get(address, {}), []
    if "notify" in wishes:
        found.append("NOTIFY=" + (",".join(wishes["notify"]) or "NEVER"))
    if "orcpt" in wishes:
        kind, _, original = wishes["orcpt"].partition(";")
        found.append(f"ORCPT={kind};{original if kind == 'utf-8' else encode_xtext(original)}")
    return found


def _refused(recipients: Sequence[str], host: Host, code: int, message: str) -> Attempt:
    """A reply of 5xx is for good, any other is not."""
    if not 500 <= code < 600:
        return Attempt(waiting=list(recipients), reason=f"{host.name}: {code} {message}")
    first = message.partition(" ")[0]
    parts = first.split(".")
    status = first if len(parts) == 3 and all(map(str.isdigit, parts)) else "5.0.0"
    return Attempt([Outcome(address, FAILED, status, f"{code} {message}", host.name) for address in recipients])


def _merge(attempt: Attempt, other: Attempt) -> None:
    attempt.outcomes += other.outcomes
    attempt.waiting += other.waiting
    attempt.reason = attempt.reason or other.reason


async def _leave(client: aiosmtplib.SMTP) -> None:
    try:
        if client.is_connected:
            await client.quit(timeout=5)
    except (aiosmtplib.SMTPException, OSError):
        pass
    client.close()
