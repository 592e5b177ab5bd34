"""Sessions as files: all protocols, masked, bounded."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator import certificates
from emulator.config import SettingsError
from emulator.server import Server
from emulator.transcripts import TranscriptFiles

CLIENT_TLS = certificates.authority(None).client_context()


async def talk(address: tuple[str, int], *said: bytes, tls: ssl.SSLContext | None = None) -> None:
    reader, writer = await asyncio.open_connection(
        *address, ssl=tls, server_hostname="localhost" if tls is not None else None
    )
    await reader.readline()
    for octets in said:
        writer.write(octets)
        await reader.readline()
    writer.close()
    await writer.wait_closed()


def texts(directory: Path) -> dict[str, str]:
    return {path.stem.rpartition("-")[2]: path.read_text() for path in directory.iterdir()}


async def test_every_protocol_leaves_a_file(tmp_path: Path, start_server) -> None:  # type: ignore[no-untyped-def]
    server: Server = await start_server(
        users=["alice:s3cret"], transcripts=tmp_path / "made", imaps_port=0, lmtp_port=0
    )
    secret = b"AGFsaWNlAHMzY3JldA=="
    await talk(server.addresses["pop3"], b"USER alice\r\n", b"PASS s3cret\r\n", b"QUIT\r\n")
    await talk(server.addresses["nntp"], b"AUTHINFO USER alice\r\n", b"AUTHINFO PASS s3cret\r\n", b"QUIT\r\n")
    await talk(
        server.addresses["imaps"], b"a AUTHENTICATE PLAIN\r\n", secret + b"\r\n", b"b LOGOUT\r\n", tls=CLIENT_TLS
    )
    await talk(server.addresses["lmtp"], b"LHLO client\r\n")

    def starttls() -> None:
        with smtplib.SMTP(*server.addresses["smtp"]) as client:
            client.starttls(context=CLIENT_TLS)
            client.login("alice", "s3cret")
            client.sendmail("a@x.example", ["b@x.example"], "Subject: seen\r\n\r\nbody\r\n")

    await asyncio.to_thread(starttls)
    await server.stop()
    found = texts(tmp_path / "made")
    assert sorted(found) == ["imap", "lmtp", "nntp", "pop3", "smtp"]
    for text in found.values():
        assert "s3cret" not in text
        assert secret.decode() not in text
        assert text.endswith(" closed\n")
    assert "C: PASS ***" in found["pop3"]
    assert "C: AUTHINFO PASS ***" in found["nntp"]
    assert ", TLS, 20" in found["imap"].partition("\n")[0]
    assert "S: 250-" in found["lmtp"]
    assert "C: AUTH" in found["smtp"]
    assert "C: Subject: seen" in found["smtp"]


async def test_both_the_file_and_the_page_see_a_session(tmp_path: Path, start_server) -> None:  # type: ignore[no-untyped-def]
    from harness.workbench import Workbench

    server: Server = await start_server(transcripts=tmp_path)
    workbench = Workbench.of(server)
    await talk(server.addresses["pop3"], b"NOOP\r\n", b"QUIT\r\n")
    await server.stop()
    assert "C: QUIT" in texts(tmp_path)["pop3"]
    assert "C: QUIT" in str(workbench.transcripts.since(0)[0])


@pytest.fixture
def files(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., TranscriptFiles]:
    def make(**limits: Any) -> TranscriptFiles:
        made = TranscriptFiles(tmp_path, **{"file_bytes_max": 1000, "files_max": 3} | limits)
        request.addfinalizer(made.close)
        return made

    return make


def test_a_file_is_bounded_and_says_so(tmp_path: Path, files: Callable[..., TranscriptFiles]) -> None:
    made = files()
    transcript = made.begin("smtp", "smtp-1", "peer", False)
    for _ in range(100):
        transcript.received(b"x" * 50 + b"\r\n")
    made.close()
    text = next(tmp_path.iterdir()).read_text()
    assert text.endswith("# the rest is left out: a transcript has at most 1000 octets\n")
    assert len(text) < 1200


def test_the_folder_is_bounded(tmp_path: Path, files: Callable[..., TranscriptFiles]) -> None:
    for _ in range(2):  # what an earlier run left counts too
        made = files()
        for number in range(4):
            made.begin("smtp", f"smtp-{number}", "peer", False).received(b"%d\r\n" % number)
        made.close()
    assert len(list(tmp_path.iterdir())) == 3


def test_what_the_disk_cannot_take_is_left_out(
    tmp_path: Path, files: Callable[..., TranscriptFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.transcripts.BACKLOG_OCTETS_MAX", 10)
    made = files()
    transcript = made.begin("smtp", "smtp-1", "peer", False)
    made.backlog_octets = 100
    transcript.received(b"lost\r\n")
    made.backlog_octets = 0
    transcript.received(b"kept\x00\xff\r\n")
    made.close()
    text = next(tmp_path.iterdir()).read_text()
    assert "C: kept\\x00\\xff\n" in text
    assert "# 6 octets are left out here" in text


def test_a_failing_disk_disturbs_nobody(tmp_path: Path, files: Callable[..., TranscriptFiles]) -> None:
    made = files()
    transcript = made.begin("smtp", "smtp-1", "peer", False)
    transcript.path = tmp_path / "gone" / "file"
    transcript.received(b"NOOP\r\n")
    made.close()
    assert "No such file" in made.failed


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="--transcripts"):
        TranscriptFiles(tmp_path / "file", file_bytes_max=1, files_max=1)
