"""harness/convert.py: `mailjam convert`."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.config import SettingsError
from emulator.imail.containers import maildir_files, split_mbox
from harness import convert

OCTETS = b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nTo: a@b\r\nContent-Type: text/html\r\n\r\n<p>x\r\n"


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    convert.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["convert", *arguments])
    code = parsed.run(parsed)
    assert isinstance(code, int)
    return code


@pytest.fixture
def eml(tmp_path: Path) -> Path:
    path = tmp_path / "a.eml"
    path.write_bytes(OCTETS)
    return path


def test_table(eml: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(str(eml)) == 0
    out = capfdbinary.readouterr().out.decode()
    assert "PR_SUBJECT" in out
    assert "grüße" in out
    assert "recipient 0" in out


def test_eml_is_identical_and_regenerated_is_not(eml: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(str(eml), "--to", "eml", "--output", str(out)) == 0
    assert out.read_bytes() == OCTETS
    assert run(str(eml), "--to", "eml", "--regenerate", "--output", str(out)) == 0
    assert out.read_bytes().startswith(b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nTo: a@b\r\nContent-Type: text/html")


def test_json_and_tnef(eml: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    stream = tmp_path / "winmail.dat"
    assert run(str(eml), "--to", "tnef", "--output", str(stream)) == 0
    assert run(str(stream), "--to", "json") == 0
    found = json.loads(capfdbinary.readouterr().out)
    assert found["properties"]["PR_SUBJECT"] == "grüße"
    assert found["recipients"][0]["PR_EMAIL_ADDRESS"] == "a@b"


def test_mbox_and_maildir(eml: Path, tmp_path: Path) -> None:
    box = tmp_path / "box"
    octets = OCTETS.replace(b"<p>x\r\n", b"From here\r\n>From there\r\n")
    eml.write_bytes(octets)
    maildir = tmp_path / "maildir"
    for name in ("cur", "new"):
        (maildir / name).mkdir(parents=True)
        (maildir / name / "1").write_bytes(octets)
    assert run(str(maildir), "--to", "mbox", "--output", str(box)) == 0
    messages = list(convert.read_messages(box))
    assert [message.octets for message in messages] == [octets.replace(b"\r\n", b"\n")] * 2
    with pytest.raises(SettingsError, match="here are 2"):
        run(str(box), "--to", "eml")


def test_errors_name_the_fix(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name a message file"):
        run(str(tmp_path / "absent"))
    with pytest.raises(SettingsError, match="cur and new"):
        run(str(tmp_path))


@pytest.mark.parametrize("octets", [b"\x78\x9f\x3e\x22\x01", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)])
def test_broken_files_are_named_in_one_line(octets: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_bytes(octets)
    with pytest.raises(SettingsError) as caught:
        list(convert.read_messages(path))
    assert "\n" not in str(caught.value)


def test_msg(eml: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    msg = tmp_path / "a.msg"
    assert run(str(eml), "--to", "msg", "--output", str(msg)) == 0
    assert run(str(msg), "--to", "eml", "--no-tnef") == 0
    assert capfdbinary.readouterr().out.startswith(b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n")


MESSAGES = [
    b"Subject: one\n\nFrom here\n\nFrom there Tue\n>From x\n",
    b"Subject: two\n\nsecond\n",
    b"Subject: three\n\n",
]


def _counted(message: bytes) -> bytes:
    header, _, body = message.partition(b"\n\n")
    return b"%b\nContent-Length: %d\n\n%b" % (header, len(body), body)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
@pytest.mark.parametrize("blank", [b"", b"\n"])
def test_mboxcl2_is_split_by_its_counts(ends: bytes, blank: bytes) -> None:
    counted = [_counted(message.replace(b"\n", ends)) if ends == b"\n" else message for message in MESSAGES]
    if ends == b"\r\n":
        counted = [
            b"Subject: %d\r\nContent-Length: %d\r\n\r\n%b" % (number, len(body), body)
            for number, body in enumerate([b"a\r\n\r\nFrom b c\r\n>From d\r\n", b"", b"x\r\n"])
        ]
    octets = b"".join(b"From a@b Tue Nov 24 07:00:00 2026" + ends + message + blank for message in counted)
    assert list(split_mbox(octets)) == counted


def test_mboxcl_is_unquoted_and_wrong_counts_are_not_believed() -> None:
    quoted = (
        b"From a Tue\nContent-Length: 8\n\n>From x\n\nFrom b Tue\nContent-Length: 99\n\ny\n\nFrom c Tue\nA: b\n\nz\n"
    )
    assert list(split_mbox(quoted)) == [
        b"Content-Length: 8\n\nFrom x\n",
        b"Content-Length: 99\n\ny\n",
        b"A: b\n\nz\n",
    ]


def test_splitting_takes_linear_time(linear: Callable[[Callable[[int], object], int], None]) -> None:
    for unit in (b"From a\nContent-Length: 1\n\nx\n\n", b"From a\n\n", b"From a\nX: y\n\nContent-Length: 9\n\n"):
        linear(lambda octets, unit=unit: list(split_mbox(unit * (octets // len(unit)))), 100_000)  # type: ignore[misc]


def test_standard_input(
    eml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(eml.read_bytes())))
    assert run("-", "--to", "eml", "-o", str(tmp_path / "copy.eml")) == 0
    assert (tmp_path / "copy.eml").read_bytes() == eml.read_bytes()


def test_files_that_are_being_written_are_no_mail_of_a_maildir(tmp_path: Path) -> None:
    for name in ("cur", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"1.{name}:2,S").write_bytes(b"Subject: x\n\n")
        (tmp_path / name / ".nfs1").write_bytes(b"junk")
    assert [file.name for file in maildir_files(tmp_path)] == ["1.cur:2,S", "1.new:2,S"]
