"""TLS for all front-ends: certificates from files, or from a certificate authority of our own made by trustme.

The authority lives in memory (one for each process: tests start many servers), or in a directory, where `mailjam ca`
finds its certificate for clients to trust, and later starts find its key.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import warnings
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from .config import Settings, SettingsError

CA_FILE, KEY_FILE = "ca.pem", "ca.key"


class Authority:
    """A certificate authority that issues certificates for this host."""

    def __init__(self, ca: trustme.CA, path: Path | None = None) -> None:
        self._ca = ca
        self.path = path
        """Where its certificate is kept, for clients; None: in memory only."""

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self._ca.cert_pem.bytes()

    def trust(self, context: ssl.SSLContext) -> None:
        """Make a client's context trust it."""
        self._ca.configure_trust(context)

    def client_context(self) -> ssl.SSLContext:
        """A client's context that trusts it and nobody else, and checks names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.trust(context)
        return context

    def server_context(self, names: tuple[str, ...], version_min: str = "1.2") -> ssl.SSLContext:
        """A server's context with a new certificate for the names and addresses. Raises SettingsError."""
        # fetchmail refuses certificates without a common name, though RFC 6125 has done away with it
        certificate = self._ca.issue_cert(*names, common_name=names[0])
        context = _server_context(version_min)
        certificate.configure_cert(context)
        _remember_end_point(context, certificate.cert_chain_pems[0].bytes())
        return context


def certificate_names(settings: Settings) -> tuple[str, ...]:
    """What a client may call this server: localhost, loopback addresses, the host's names, the listening address."""
    names = ["localhost", "127.0.0.1", "::1"]
    for name in (settings.front_end.hostname, socket.gethostname(), settings.host):
        if name not in names and _is_certifiable(name):
            names.append(name)
    return tuple(names)


def _is_certifiable(name: str) -> bool:
    try:
        return not ip_address(name).is_unspecified
    except ValueError:
        labels = name.split(".")
        return 0 < len(name) < 64 and all(
            label and label.isascii() and label.replace("-", "").isalnum() and label.strip("-") == label
            for label in labels
        )


@cache
def _authority_in_memory() -> Authority:
    return Authority(trustme.CA(organization_name="mailjam"))


@cache
def _context_in_memory(names: tuple[str, ...], version_min: str) -> ssl.SSLContext:
    return _authority_in_memory().server_context(names, version_min)


def default_directory() -> Path:
    """Where `mailjam serve` keeps its authority when it has no --data: $XDG_DATA_HOME/mailjam."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "mailjam"


def authority(directory: Path | None) -> Authority:
    """The authority kept in a directory, made there if there is none; None: that of this process.

    Raises SettingsError when the directory cannot be used.
    """
    if directory is None:
        return _authority_in_memory()
    certificate, key = directory / CA_FILE, directory / KEY_FILE
    try:
        if not (certificate.exists() and key.exists()):
            _make_authority(directory)
        return Authority(trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes()), certificate)
    except OSError as error:
        text = f"the certificate authority in {directory} cannot be used ({error.strerror}): choose another --data"
        raise SettingsError(text) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        text = f"{certificate} or {key} is damaged: remove both, and they are made anew"
        raise SettingsError(text) from error


def _make_authority(directory: Path) -> None:
    """Write key and certificate, the key readable by its owner only; complete or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    ca = trustme.CA(organization_name="mailjam")
    for name, octets, mode in ((KEY_FILE, ca.private_key_pem.bytes(), 0o600), (CA_FILE, ca.cert_pem.bytes(), 0o644)):
        temporary = directory / f"{name}.{os.getpid()}.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
        temporary.replace(directory / name)


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """The context of all front-ends; None when TLS is switched off. Raises SettingsError."""
    if not settings.tls:
        return None
    if settings.tls_certificate is not None:
        return _context_from_files(settings.tls_certificate, settings.tls_key, settings.tls_version_min)
    if settings.tls_key is not None:
        raise SettingsError("--tls-key needs --tls-certificate")
    names = certificate_names(settings)
    if settings.tls_directory is None:
        return _context_in_memory(names, settings.tls_version_min)
    return authority(settings.tls_directory).server_context(names, settings.tls_version_min)


_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


def _server_context(version_min: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if version_min not in _VERSIONS:
        raise SettingsError(f"tls_version_min: {version_min!r} is no version of TLS: write {', '.join(_VERSIONS)}")
    with warnings.catch_warnings():  # that the old versions are not safe is why they have to be asked for
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[version_min]
    if version_min < "1.2":  # they sign with SHA-1, which OpenSSL does at its lowest level of security only
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.verify_mode = ssl.CERT_NONE
    # Tickets come while clients begin to write: those that read in a thread of their own (imaplib2) may hang then, as
    # Python before 3.13 does not guard a connection that two threads use. Nobody resumes a session with a test server.
    context.num_tickets = 0
    return context


def _context_from_files(certificate: Path, key: Path | None, version_min: str) -> ssl.SSLContext:
    context = _server_context(version_min)
    try:
        octets = certificate.read_bytes()
        context.load_cert_chain(certificate, key, password=_no_password)
    except OSError as error:
        if isinstance(error, ssl.SSLError):
            where = f"{certificate} and {key}" if key is not None else str(certificate)
            text = f"{where}: not a certificate chain and its key in PEM without a passphrase ({error.reason})"
        else:
            text = f"--tls-certificate, --tls-key: {error.filename or key}: {error.strerror}"
        raise SettingsError(text) from error
    _remember_end_point(context, octets)
    return context


def _no_password() -> str:
    raise SettingsError("--tls-key: the key has a passphrase: give one without (openssl pkey -in KEY -out NEW)")


def _remember_end_point(context: ssl.SSLContext, pem: bytes) -> None:
    """Keep the hash of the certificate for SCRAM's channel binding `tls-server-end-point` (RFC 5929 section 4.1).

    The hash is that of the certificate's signature, but SHA-256 in place of MD5 and SHA-1; where there is no single one
    (Ed25519) there is no such binding.
    """
    certificate = x509.load_pem_x509_certificate(pem)
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None:
        return
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    der = ssl.PEM_cert_to_DER_cert(_first(pem))
    context.mailjam_end_point = hashlib.new(name, der).digest()  # type: ignore[attr-defined]


def _first(pem: bytes) -> str:
    text = pem.decode("latin-1")
    start = text.index("-----BEGIN CERTIFICATE-----")
    end = text.index("-----END CERTIFICATE-----", start)
    return text[start:end] + "-----END CERTIFICATE-----\n"
