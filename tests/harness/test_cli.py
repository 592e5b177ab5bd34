"""The command line as a user meets it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import COMMANDS, build_parser, main


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"mailjam {command}" in capsys.readouterr().out


def test_help_names_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("mailjam ")


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["serve", "--build", "nonsense"], "name one like 5.5.2653.23"),
        (["serve", "--user", "alice"], "write NAME:PASSWORD"),
        (["serve", "--load", "/nonexistent-folder"], "name one that holds .eml files"),
        (["serve", "--defect", "Z"], "unknown defect"),
        (["reproduce", "q279798", "--build", "nonsense"], "sp3, sp4, patched"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line_and_exit_code_2(
    arguments: list[str], fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("mailjam: ")
    assert error.count("\n") == 1
    assert fix in error


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = ["--smtp-port", "0", "--imap-port", "0", "--nntp-port", "0", "--http-port", "off"]
        assert main(["serve", "--no-tls", *ports, "--pop3-port", str(port)]) == 2
    assert f"port {port} is in use: choose another with --pop3-port" in capsys.readouterr().err


def test_variables_are_defaults_of_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILJAM_SMTP_PORT", "2500")
    monkeypatch.setenv("MAILJAM_USER", "alice:secret bob:secret")
    monkeypatch.setenv("MAILJAM_STRICT_USERS", "yes")
    parsed = build_parser("serve").parse_args(["serve"])
    assert parsed.smtp_port == 2500
    assert parsed.user == ["alice:secret", "bob:secret"]
    assert parsed.strict_users is True
    assert build_parser("serve").parse_args(["serve", "--smtp-port", "off"]).smtp_port is None


def test_serving_does_not_import_the_explorer() -> None:
    code = "import sys, harness.cli; harness.cli.build_parser('ca'); print('harness.explorer' in sys.modules)"
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert found.stdout.strip() == "False"


def test_a_reader_that_goes_away_is_no_error() -> None:
    root = Path(__file__).parents[2]
    shell = f"{sys.executable} -m harness.cli reproduce q279798 --json | head -c 1"
    found = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=root, check=True, timeout=60)
    assert "Traceback" not in found.stderr
