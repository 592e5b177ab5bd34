from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from harness.testing.familiar import Smtpd, SmtpServer, truth
from harness.testing.fixture import MailJam, settings_from
from harness.testing.running import RunningServer

TEXT = "From: a@example.org\r\nTo: bob@example.com\r\nSubject: hello\r\n\r\nhi\r\n"


@pytest.fixture(scope="module")
def mailjam_server() -> Iterator[RunningServer]:
    running = RunningServer(settings_from({}))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def smtpd(mailjam: MailJam) -> Smtpd:
    return Smtpd(mailjam, {})


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_messages_have_their_envelope(smtpd: Smtpd) -> None:
    assert smtpd.messages == []
    with smtplib.SMTP(smtpd.hostname, smtpd.port) as client:
        assert not client.has_extn("starttls")
        client.sendmail("a@example.org", ["bob@example.com", "carol@example.com"], TEXT)
        client.sendmail("a@example.org", "bob@example.com", TEXT)
    first, second = smtpd.messages
    assert first["X-MailFrom"] == "a@example.org"
    assert first["X-RcptTo"] == "bob@example.com, carol@example.com"
    assert second.get_payload() == "hi\r\n"
    smtpd.messages.clear()
    assert len(smtpd.messages) == 2


def test_starttls_is_asked_for(smtpd: Smtpd, mailjam: MailJam) -> None:
    smtpd.config.use_starttls = True
    with smtplib.SMTP(smtpd.hostname, smtpd.port) as client:
        with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
            client.sendmail("a@example.org", "bob@example.com", TEXT)
        client.starttls(context=mailjam.ssl_context)
        client.login("user", "password")
        client.sendmail("a@example.org", "bob@example.com", TEXT)
    assert len(smtpd.messages) == 1


def test_tls_from_the_first_octet(smtpd: Smtpd, tmp_path: Path) -> None:
    smtpd.config.use_ssl = "yes"
    assert smtpd.config.use_tls is True
    with smtplib.SMTP_SSL(smtpd.hostname, smtpd.port, context=unverified()) as client:
        client.sendmail("a@example.org", "bob@example.com", TEXT)
    authority = trustme.CA()
    certificate = tmp_path / "both.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    smtpd.config.ssl_cert_files = str(certificate)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    with smtplib.SMTP_SSL(smtpd.hostname, smtpd.port, context=trusting) as client:
        client.sendmail("a@example.org", "bob@example.com", TEXT)
    assert len(smtpd.messages) == 2
    with pytest.raises(FileNotFoundError, match="name a certificate"):
        smtpd.config.ssl_cert_files = (str(tmp_path / "none"), None)


def test_logins(smtpd: Smtpd, monkeypatch: pytest.MonkeyPatch) -> None:
    with smtplib.SMTP(smtpd.hostname, smtpd.port) as client:
        client.ehlo()
        assert client.docmd("AUTH", "PLAIN AHVzZXIAcGFzc3dvcmQ=")[0] == 538  # without TLS
    smtpd.config.auth_require_tls = False
    monkeypatch.setattr(smtpd.config, "enforce_auth", True)
    smtpd.config.login_username, smtpd.config.login_password = "anna", "other"
    with smtplib.SMTP(smtpd.hostname, smtpd.port) as client:
        with pytest.raises(smtplib.SMTPSenderRefused, match="Authentication required"):
            client.sendmail("a@example.org", "bob@example.com", TEXT)
        client.login("anna", "other")
        client.sendmail("a@example.org", "bob@example.com", TEXT)
    assert len(smtpd.messages) == 1


def test_variables(mailjam: MailJam) -> None:
    made = Smtpd(mailjam, {"SMTPD_LOGIN_NAME": "x", "SMTPD_USE_TLS": "on", "SMTPD_READY_TIMEOUT": "3"})
    assert (made.config.login_username, made.config.use_ssl, made.config.ready_timeout) == ("x", True, 3.0)
    assert made.config.port == made.port
    with pytest.raises(ValueError, match="invalid truth value"):
        Smtpd(mailjam, {"SMTPD_ENFORCE_AUTH": "perhaps"})
    with pytest.raises(FileNotFoundError):
        Smtpd(mailjam, {"SMTPD_SSL_CERTIFICATE_FILE": "/nowhere"})


@pytest.mark.parametrize(("value", "expected"), [("T", True), ("0", False), (1, True), (None, False)])
def test_truth(value: Any, expected: bool) -> None:
    assert truth(value) is expected


def test_the_outbox_of_pytest_localserver(mailjam: MailJam) -> None:
    server = SmtpServer(mailjam)
    assert server.is_alive()
    assert server.outbox == []
    with smtplib.SMTP(*server.addr) as client:
        client.sendmail("a@example.org", ["bob@example.com"], TEXT)
    (message,) = server.outbox
    details: Any = message.details  # type: ignore[attr-defined]
    assert (details.mailfrom, details.rcpttos, details.peer[0]) == ("a@example.org", ["bob@example.com"], "127.0.0.1")
    server.outbox.clear()
    assert server.outbox == []
    server.stop()
    assert not server.accepting
