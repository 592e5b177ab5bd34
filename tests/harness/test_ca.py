"""`mailjam ca`."""

from pathlib import Path

import pytest

from harness.cli import main


def test_the_authority_is_made_once_and_its_path_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ca", "--tls-directory", str(tmp_path)]) == 0
    first = Path(capsys.readouterr().out.strip())
    text = first.read_text()
    assert text.startswith("-----BEGIN CERTIFICATE-----")
    assert main(["ca", "--tls-directory", str(tmp_path), "--pem"]) == 0
    assert capsys.readouterr().out.strip() == text.strip()


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["ca", "--tls-directory", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
