"""Limits have their unit in their name."""

import dataclasses
import re

from protocols.settings import FrontEndSettings, Limits

UNITS = re.compile(r"(bytes|seconds|octets|messages|max|delay_seconds)")


def test_every_limit_names_its_unit() -> None:
    for field in dataclasses.fields(Limits):
        assert UNITS.search(field.name), field.name
        assert getattr(Limits(), field.name) >= 0


def test_the_defaults_suit_a_loopback_test_server() -> None:
    settings = FrontEndSettings()
    assert settings.plaintext_login
    assert not settings.quirk_bare_lf
    assert settings.limits.idle_seconds_max >= 1800, "RFC 9051 section 5.4"
    assert settings.limits.pop3_idle_seconds_max >= 600, "RFC 1939 section 3"
    assert settings.limits.smtp_idle_seconds_max >= 300, "RFC 5321 section 4.5.3.2.7"
