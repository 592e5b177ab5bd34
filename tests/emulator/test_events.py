"""The bus."""

from emulator.events import Bus, MessageBad, ServiceStateChanged


def test_by_type_and_for_all() -> None:
    bus, seen, everything = Bus(), [], []
    bus.on(MessageBad, seen.append)
    bus.on(object, everything.append)
    bad, changed = MessageBad("AAAAAAAA", "why"), ServiceStateChanged("IS", "running")
    bus.publish(bad)
    bus.publish(changed)
    assert seen == [bad]
    assert everything == [bad, changed]
    bus.off(MessageBad, seen.append)
    bus.publish(bad)
    assert seen == [bad]


def test_wanted_saves_building_events() -> None:
    bus = Bus()
    assert not bus.wanted(MessageBad)
    subscription = bus.subscribe(MessageBad)
    assert bus.wanted(MessageBad)
    subscription.close()
    assert not bus.wanted(MessageBad)


def test_a_subscriber_that_raises_harms_nobody() -> None:
    bus, seen = Bus(), []

    def broken(event: MessageBad) -> None:
        raise RuntimeError("a subscriber's fault")

    bus.on(MessageBad, broken)
    bus.on(MessageBad, seen.append)
    bus.publish(MessageBad("AAAAAAAA", "why"))
    assert len(seen) == 1
    assert bus.failures == 1


def test_a_full_subscription_counts_what_it_drops() -> None:
    bus, woken = Bus(), []
    subscription = bus.subscribe(events_max=2, wake=lambda: woken.append(1))
    for number in range(5):
        bus.publish(MessageBad(str(number), ""))
    assert subscription.dropped == 3
    assert [subscription.pop().spool_name, subscription.pop().spool_name] == ["0", "1"]
    assert subscription.pop() is None
    assert len(woken) == 2
