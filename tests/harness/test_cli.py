"""The command line as a user meets it."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.config import Newsfeed, Settings
from emulator.setting_values import FIELDS
from harness.cli import COMMANDS, build_parser, main
from harness.serve import _SETTINGS, settings_from


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
        (["serve", "--set", "smtp_prot=1"], "did you mean smtp_port?"),
        (["serve", "--config", "/nonexistent-file"], "No such file"),
        (["serve", "--proxy-protocol", "http"], "some of smtp,pop3,imap"),
        (["serve", "--bearer-token", "alice"], "write USER:TOKEN"),
        (["serve", "--newsfeed", "push:user:secret@/x"], "write push:HOST:PORT/GROUPS"),
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


def settings_of(*flags: str) -> Settings:
    return settings_from(build_parser("serve").parse_args(["serve", "--no-tls", *flags]))


def test_settings_by_file_flag_and_name(tmp_path: Path) -> None:
    path = tmp_path / "mailjam.toml"
    path.write_text('smtp_port = 2500\nhostname = "file.example"\n[limits]\nmessage_bytes_max = 5\n')
    settings = settings_of("--config", str(path), "--hostname", "flag.example", "--set", "pop3_expire_days=3")
    assert settings.smtp_port == 2500
    assert settings.front_end.hostname == "flag.example"
    assert settings.front_end.limits.message_bytes_max == 5
    assert settings.front_end.pop3_expire_days == 3
    assert settings_of("--outbound-retry-seconds", "2").outbound_retry_seconds_min == 2.0
    assert settings_of("--outbound-expire-seconds", "2").outbound_expire_seconds == 2.0


def test_a_flag_that_says_the_default_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mailjam.toml"
    path.write_text('smtp_port = 2500\npersonality = "exchange55"\nlogin_required = true\ngroups = ["a.b"]\n')
    settings = settings_of("--config", str(path), "--smtp-port", "1025", "--personality", "modern")
    assert settings.smtp_port == 1025
    assert settings.front_end.personality == "modern"
    assert settings.front_end.login_required
    assert settings.groups == ("a.b",)
    assert settings.pop3_port == 1110
    monkeypatch.setenv("MAILJAM_REQUIRE_LOGIN", "no")
    monkeypatch.setenv("MAILJAM_GROUP", "c.d e.f")
    settings = settings_of("--config", str(path))
    assert not settings.front_end.login_required
    assert settings.groups == ("c.d", "e.f")
    assert settings_of("--config", str(path), "--set", "groups=g.h").groups == ("g.h",)


def test_each_flag_of_a_setting_has_its_field() -> None:
    command = build_parser("serve")._subparsers._group_actions[0].choices["serve"]  # type: ignore[union-attr,index]
    flags = {action.dest for action in command._actions if action.default is argparse.SUPPRESS} - {"help"}
    assert len(flags) > 40
    assert [flag for flag in flags if flag not in _SETTINGS or _SETTINGS[flag][0] not in FIELDS] == []


def test_flags_for_single_settings() -> None:
    settings = settings_of(
        *("--proxy-protocol", "smtp,imap", "--bearer-token", "alice:t0ken", "--motd", "be kind"),
        *("--subscription", "news.newusers", "--smtp-greeting-seconds", "1.5"),
        *("--newsfeed", "pull+tls:me:sec@ret@news.example/a.*", "--transcripts", "somewhere"),
    )
    assert settings.proxy_protocol
    assert settings.proxy_protocol_servers == ("smtp", "imap")
    assert settings.bearer_tokens == (("alice", "t0ken"),)
    assert settings.front_end.nntp_motd == "be kind"
    assert settings.front_end.nntp_subscriptions == ("news.newusers",)
    assert settings.front_end.smtp_greeting_seconds == 1.5
    assert settings.newsfeeds == (Newsfeed(True, "news.example", 563, "a.*", tls=True, user="me", password="sec@ret"),)
    assert settings.transcripts == Path("somewhere")
    assert settings_of("--proxy-protocol").proxy_protocol_servers == ()


def test_all_settings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--no-tls", "--hostname", "shown.example", "--show-settings"]) == 0
    assert 'hostname = "shown.example"\n' in capsys.readouterr().out


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
