"""TLS contexts: from files, from an authority of our own, and the errors a user can cause."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from emulator import certificates
from emulator.config import Settings, SettingsError
from protocols.settings import FrontEndSettings

SETTINGS = Settings(front_end=FrontEndSettings(hostname="mail.example.com"))


async def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Shake hands on a socket; the TLS version."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    async with listener:
        reader, writer = await asyncio.open_connection(
            *listener.sockets[0].getsockname()[:2], ssl=client, server_hostname=name
        )
        version: str | None = writer.get_extra_info("ssl_object").version()
        await reader.read()
        writer.close()
        return version


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "mail.example.com"])
async def test_the_certificate_of_our_own_is_valid_for_all_names_of_this_host(name: str) -> None:
    context = certificates.server_context(SETTINGS)
    assert context is not None
    client = certificates.authority(None).client_context()
    assert await handshake(context, client, name) == "TLSv1.3"


def old_client() -> ssl.SSLContext:
    client = certificates.authority(None).client_context()
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        client.minimum_version, client.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1
    return client


async def test_tls_before_1_2_is_refused() -> None:
    context = certificates.server_context(SETTINGS)
    assert context is not None
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await handshake(context, old_client(), "localhost")


async def test_old_tls_is_spoken_when_asked_for() -> None:
    context = certificates.server_context(replace(SETTINGS, tls_version_min="1.0"))
    assert context is not None
    assert await handshake(context, old_client(), "localhost") == "TLSv1"
    assert await handshake(context, certificates.authority(None).client_context(), "localhost") == "TLSv1.3"
    with pytest.raises(SettingsError, match=r"write 1\.0, 1\.1"):
        certificates.server_context(replace(SETTINGS, tls_version_min="3.0"))


def test_no_tls() -> None:
    assert certificates.server_context(replace(SETTINGS, tls=False)) is None


async def test_an_authority_in_a_directory_survives(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "tls"
    first = certificates.authority(directory)
    assert first.path == directory / "ca.pem"
    assert first.path.read_bytes() == first.pem
    assert stat.S_IMODE((directory / "ca.key").stat().st_mode) == 0o600
    context = certificates.server_context(replace(SETTINGS, tls_directory=directory))
    assert context is not None
    client = ssl.create_default_context(cafile=os.fspath(first.path))
    assert await handshake(context, client, "localhost")
    assert certificates.authority(directory).pem == first.pem
    assert sorted(path.name for path in directory.iterdir()) == ["ca.key", "ca.pem"]


async def test_certificate_from_files(tmp_path: Path) -> None:
    ca = trustme.CA()
    issued = ca.issue_cert("other.example.com")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    context = certificates.server_context(replace(SETTINGS, tls_certificate=chain, tls_key=key))
    assert context is not None
    client = ssl.create_default_context()
    ca.configure_trust(client)
    assert await handshake(context, client, "other.example.com")
    assert len(context.mailjam_end_point) == 32  # type: ignore[attr-defined]


def damaged(tmp_path: Path) -> list[dict[str, Any]]:
    text, other = tmp_path / "text.pem", tmp_path / "other.pem"
    text.write_text("not a certificate")
    other.write_bytes(trustme.CA().cert_pem.bytes())
    authority = tmp_path / "authority"
    authority.mkdir()
    (authority / "ca.pem").write_text("damaged")
    (authority / "ca.key").write_text("damaged")
    return [
        {"tls_certificate": tmp_path / "missing.pem"},
        {"tls_certificate": text},
        {"tls_certificate": other, "tls_key": text},
        {"tls_key": text},
        {"tls_directory": text / "below-a-file"},
        {"tls_directory": authority},
    ]


@pytest.mark.parametrize("number", range(6))
def test_what_a_user_can_get_wrong_is_one_line(tmp_path: Path, number: int) -> None:
    with pytest.raises(SettingsError) as error:
        certificates.server_context(replace(SETTINGS, **damaged(tmp_path)[number]))
    assert "\n" not in str(error.value)


def test_names_that_cannot_stand_in_a_certificate_are_left_out() -> None:
    odd = replace(SETTINGS, host="0.0.0.0", front_end=FrontEndSettings(hostname="bad_name"))
    names = certificates.certificate_names(odd)
    assert "0.0.0.0" not in names
    assert "bad_name" not in names


def test_default_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", os.fspath(tmp_path))
    assert certificates.default_directory() == tmp_path / "mailjam"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert certificates.default_directory().name == "mailjam"


def test_no_tickets_come_while_a_client_begins_to_write() -> None:
    assert certificates.authority(None).server_context(("localhost",)).num_tickets == 0
