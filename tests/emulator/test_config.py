"""Settings."""

import dataclasses

import pytest

from emulator.builds import UnknownBuild
from emulator.config import (
    Account,
    Settings,
    SettingsError,
    default_hostname,
    front_end_with,
    limits_with,
    parse_account,
)


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().host = "0.0.0.0"  # type: ignore[misc]


def test_loopback_and_kernel_ports_by_default() -> None:
    settings = Settings()
    assert settings.host == "127.0.0.1"
    assert settings.smtp_port == settings.pop3_port == settings.imap_port == settings.nntp_port == 0


def test_accounts() -> None:
    assert parse_account("alice:se:cret") == Account("alice", "se:cret")
    for text in ("alice", ":x", "alice:", "a\x00:b"):
        with pytest.raises(SettingsError, match="--user"):
            parse_account(text)


def test_changing_parts() -> None:
    settings = front_end_with(limits_with(Settings(), recipients_max=5), hostname="mx.test")
    assert settings.front_end.limits.recipients_max == 5
    assert settings.front_end.hostname == "mx.test"


def test_the_build_is_checked() -> None:
    with pytest.raises(UnknownBuild):
        Settings(build="7").find_build()
    assert Settings(build="latest", defects=frozenset("B")).find_build().defects >= {"B"}


def test_the_hostname_is_fit_for_a_trace_field() -> None:
    assert default_hostname()
    assert all(character.isalnum() or character in ".-" for character in default_hostname())
