"""Places for logons: bounded, given back at the logoff, unless the build has KB Q216259."""

from __future__ import annotations

import pytest

from emulator.events import Bus
from emulator.logons import Logons
from protocols.actor import Actor
from protocols.ports import SessionClosed, Unavailable


def closed(actor: Actor) -> SessionClosed:
    return SessionClosed("pop3", actor, "peer", 0.0, 0, 0, "closed")


def test_places_are_taken_once_and_given_back() -> None:
    bus = Bus()
    logons = Logons(bus, 2)
    first, second, third = (Actor("pop3", number) for number in (1, 2, 3))
    logons.log_on(first)
    logons.log_on(first)
    logons.log_on(second)
    with pytest.raises(Unavailable, match="1160"):
        logons.log_on(third)
    bus.publish(closed(first))
    logons.log_on(third)
    assert len(logons) == 2


def test_a_build_that_does_not_give_back() -> None:
    bus = Bus()
    logons = Logons(bus, 1, frees=False)
    actor = Actor("pop3", 1)
    logons.log_on(actor)
    bus.publish(closed(actor))
    with pytest.raises(Unavailable):
        logons.log_on(Actor("pop3", 2))
