from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.config import SettingsError
from harness.testing.fixture import MailJam, settings_from
from harness.testing.running import RunningServer


@pytest.fixture(scope="module")
def mailjam_server() -> Iterator[RunningServer]:
    """Ended with this module: while another thread runs a loop, the detectors of later tests cannot be sure."""
    running = RunningServer(settings_from({}))
    running.start()
    yield running
    running.stop()


def test_settings_reach_every_level() -> None:
    settings = settings_from({"users": ["a:b"], "groups": ["x.y"], "personality": "exchange55", "message_bytes_max": 9})
    assert settings.accounts[0].name == "a"
    assert settings.groups == ("x.y",)
    assert settings.front_end.personality == "exchange55"
    assert settings.front_end.limits.message_bytes_max == 9
    with pytest.raises(SettingsError, match="no setting 'colour'"):
        settings_from({"colour": 1})


def test_factories_faults_and_report(mailjam: MailJam) -> None:
    first, second = mailjam.user(), mailjam.user()
    assert first.name != second.name
    fault = mailjam.fault("jam", protocol="pop3")
    assert (fault.fired, fault.holding, fault.fault.section) == (0, 0, "imail")
    mailjam.allow("faults")
    with pytest.raises(ValueError, match="no leak 'x'"):
        mailjam.allow("x")
    assert mailjam.report() == []
