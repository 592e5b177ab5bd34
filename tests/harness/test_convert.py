"""harness/convert.py: `mailjam convert`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from emulator.config import SettingsError
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
