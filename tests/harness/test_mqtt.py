"""Without a broker; what needs one stands in tests/mqtt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from emulator.config import SettingsError
from emulator.server import Server
from harness import mqtt
from harness.mqtt import Broker, Publisher, Sequence


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


def test_duplicates_and_gaps() -> None:
    sequence = Sequence()
    events = [("a", 3), ("a", 4), ("a", 3), ("b", 1), ("a", 4), ("a", 7), ("b", 2)]
    new = [sequence.is_new({"instance": instance, "seq": number}) for instance, number in events]
    assert new == [True, True, False, True, False, True, True]
    assert (sequence.duplicates, sequence.lost) == (2, 2)
    with pytest.raises(KeyError):
        sequence.is_new({})
