"""The interfaces of smtpdfix (`smtpd`) and pytest-localserver (`smtpserver`) over a system of the test's own.

As far as their documentation goes: attributes, `config` and the variables `SMTPD_*` of the one, `addr`, `outbox` and
`details` of the other. What they have beyond it (the attributes of aiosmtpd's Controller) is not here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from emulator.server import IMC, Server

from .archive import Entry
from .fixture import MailJam

_TRUE, _FALSE = ("y", "yes", "t", "true", "on", "1"), ("n", "no", "f", "false", "off", "0")


def truth(value: Any) -> bool:
    """`yes`, `off`, `1` and the like as smtpdfix reads them. Raises ValueError."""
    if not isinstance(value, str):
        return bool(value)
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError(f"invalid truth value {value!r}: write one of {', '.join(_TRUE + _FALSE)}")


@dataclass(frozen=True, slots=True)
class MessageDetails:
    """`message.details` of pytest-localserver: the envelope."""

    peer: tuple[str, int]
    mailfrom: str
    rcpttos: list[str]


def _peer(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port or 0)


class _Arrivals:
    """What came in over SMTP, in the order of the replies: one message for each transaction."""

    def __init__(self, mailjam: MailJam) -> None:
        self._mailjam = mailjam
        self._seen: set[int] = set()

    def new(self) -> list[tuple[Entry, Message]]:
        """What came in since the last call."""
        views = self._mailjam.messages
        archive = self._mailjam.workbench.archive
        entries = [(archive.get(view.id), view) for view in views]
        fresh = [(e, v) for e, v in entries if e is not None and e.envelope is not None and e.number not in self._seen]
        self._seen.update(entry.number for entry, _ in fresh)
        fresh.sort(key=lambda pair: pair[0].envelope.number if pair[0].envelope is not None else 0)
        return [(entry, message_from_bytes(view.raw)) for entry, view in fresh]


# --- smtpdfix ---------------------------------------------------------------------------------------------------------


def _check_files(files: tuple[str | None, str | None]) -> tuple[str | None, str | None]:
    for file in files:
        if file is not None and not Path(file).is_file():
            raise FileNotFoundError(f"smtpd: no file {file}: name a certificate, as in SMTPD_SSL_CERTIFICATE_FILE")
    return files


def _files(value: Any) -> tuple[str | None, str | None]:
    if isinstance(value, tuple):
        return _check_files((str(value[0]), None if value[1] is None else str(value[1])))
    return _check_files((str(value), None))


class _Setting:
    """An attribute of `SmtpdConfig` that takes effect when it is set."""

    def __init__(self, convert: Callable[[Any], Any], name: str = "") -> None:
        self._convert = convert
        self._name = name

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name

    def __get__(self, config: Any, owner: type) -> Any:
        return self if config is None else config._values[self._name]

    def __set__(self, config: Any, value: Any) -> None:
        config._values[self._name] = self._convert(value)
        config._changed()


class SmtpdConfig:
    """`smtpd.config`: what is set takes effect for the next connection.

    Where it differs: the server listens on the loopback address, and a certificate is made where no file is named.
    """

    def __init__(self, mailjam: MailJam, environment: Mapping[str, str], changed: Callable[[], None]) -> None:
        """Raises ValueError and FileNotFoundError for variables that cannot be."""
        get = environment.get
        host, port = mailjam.smtp
        self._changed = changed
        self._values: dict[str, Any] = {
            "host": get("SMTPD_HOST", host),
            "port": int(get("SMTPD_PORT", port)),
            "ready_timeout": float(get("SMTPD_READY_TIMEOUT", 10.0)),
            "login_username": get("SMTPD_LOGIN_NAME", "user"),
            "login_password": get("SMTPD_LOGIN_PASSWORD", "password"),
            "enforce_auth": truth(get("SMTPD_ENFORCE_AUTH", "False")),
            "auth_require_tls": truth(get("SMTPD_AUTH_REQUIRE_TLS", "True")),
            "ssl_cert_files": (get("SMTPD_SSL_CERTIFICATE_FILE"), get("SMTPD_SSL_KEY_FILE")),
            "use_starttls": truth(get("SMTPD_USE_STARTTLS", "False")),
            "use_ssl": truth(get("SMTPD_USE_SSL", "False")) or truth(get("SMTPD_USE_TLS", "False")),
        }
        _check_files(self._values["ssl_cert_files"])

    host = _Setting(str)
    port = _Setting(int)
    ready_timeout = _Setting(float)
    login_username = _Setting(str)
    login_password = _Setting(str)
    enforce_auth = _Setting(truth)
    auth_require_tls = _Setting(truth)
    ssl_cert_files = _Setting(_files)
    use_starttls = _Setting(truth)
    use_ssl = _Setting(truth)
    use_tls = _Setting(truth, "use_ssl")
    """The name in older releases."""


class Smtpd:
    """The fixture `smtpd`."""

    def __init__(self, mailjam: MailJam, environment: Mapping[str, str] | None = None) -> None:
        self._mailjam = mailjam
        self._arrivals = _Arrivals(mailjam)
        self._messages: list[Message] = []
        self.config = SmtpdConfig(mailjam, os.environ if environment is None else environment, self._apply)
        self._apply()

    @property
    def hostname(self) -> str:
        """Where it listens."""
        return str(self.config.host)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._mailjam.smtp.port

    @property
    def messages(self) -> list[Message]:
        """A copy of the list of what came in, with X-Peer, X-MailFrom and X-RcptTo."""
        for entry, message in self._arrivals.new():
            assert entry.envelope is not None
            message["X-Peer"] = str(_peer(entry.envelope.peer))
            message["X-MailFrom"] = entry.envelope.reverse_path
            message["X-RcptTo"] = ", ".join(entry.envelope.recipients)
            self._messages.append(message)
        return self._messages.copy()

    def _apply(self) -> None:
        self._mailjam.run(_configure(self._mailjam.server, self.config))


async def _configure(server: Server, config: SmtpdConfig) -> None:
    """Make the Internet Mail Service listen as configured."""
    certificate, key = config.ssl_cert_files
    settings = replace(
        server.settings,
        host=config.host,
        tls=True,
        tls_certificate=Path(certificate) if certificate else None,
        tls_key=Path(key) if key else None,
    )
    front_end = replace(
        settings.front_end,
        login_required=config.enforce_auth,
        plaintext_login=not config.auth_require_tls,
        smtp_tls_required=config.use_starttls,
    )
    server.settings = replace(settings, front_end=front_end)
    server.services.settings = front_end
    await server.directory.add_user(config.login_username, config.login_password)
    offers = config.use_starttls or config.use_ssl
    await server.listen_again("smtp", config.port, tls=config.use_ssl and not config.use_starttls, starttls=offers)


# --- pytest-localserver -----------------------------------------------------------------------------------------------


class SmtpServer:
    """The fixture `smtpserver`."""

    def __init__(self, mailjam: MailJam) -> None:
        self._mailjam = mailjam
        self._arrivals = _Arrivals(mailjam)
        self._outbox: list[Message] = []
        self.addr: tuple[str, int] = (mailjam.smtp.host, mailjam.smtp.port)
        self.port = self.addr[1]

    @property
    def outbox(self) -> list[Message]:
        """What came in, each with its envelope in `details`; the list is the test's, it may be cleared."""
        for entry, message in self._arrivals.new():
            assert entry.envelope is not None
            envelope = entry.envelope
            details = MessageDetails(_peer(envelope.peer), envelope.reverse_path, list(envelope.recipients))
            message.details = details  # type: ignore[attr-defined]  # as there
            self._outbox.append(message)
        return self._outbox

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.accepting

    @property
    def accepting(self) -> bool:
        """Whether it takes connections."""
        return str(self._mailjam.server.control.find(IMC).state.value) == "running"

    def stop(self, timeout: float | None = None) -> None:
        """Stop the Internet Mail Service."""
        if self.accepting:
            self._mailjam.run(self._mailjam.server.control.stop(IMC))
