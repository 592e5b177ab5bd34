"""Without a broker; what needs one stands in tests/mqtt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from emulator.config import SettingsError
from emulator.server import Server
from harness import mqtt
from harness.mqtt import Broker, Publisher


def test_urls() -> None:
    assert Broker.parse("mqtt://lab/a/b") == Broker("lab", 1883, "a/b")
    assert Broker.parse("mqtts://me:p%40ss@lab:9") == Broker("lab", 9, "mailjam", "me", "p@ss", tls=True)
    for wrong in ("lab:1883", "mqtt://", "mqtt://lab/a+b", "mqtt://lab:x/"):
        with pytest.raises(SettingsError, match="--mqtt"):
            Broker.parse(wrong)


async def test_what_nobody_takes_is_bounded_and_counted(
    start_server: Callable[..., Awaitable[Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "EVENTS_MAX", 3)
    publisher = Publisher(await start_server(), Broker.parse("mqtt://127.0.0.1:1/x"))
    publisher.start()
    for number in range(5):
        publisher._event("message", number=number)
    assert publisher.dropped == 2
    assert not publisher.connected
    await publisher.close()
