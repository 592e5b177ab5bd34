"""Which articles have been here."""

from __future__ import annotations

from types import SimpleNamespace

from protocols.nntp.history import History, history_of, is_known
from protocols.settings import FrontEndSettings, Limits


def test_it_remembers_and_forgets_the_oldest() -> None:
    history = History(3)
    for name in (b"a", b"b", b"c", b"a", b"d"):
        history.remember(name)
    assert len(history) == 3
    assert b"b" not in history
    assert b"a" in history
    history.forget(b"a")
    history.forget(b"never there")
    assert b"a" not in history


def test_one_session_at_a_time_takes_an_article_in() -> None:
    history = History(3)
    with history.arriving(b"a") as first:
        assert first
        assert history.is_arriving(b"a")
        with history.arriving(b"a") as second:
            assert not second
        assert history.is_arriving(b"a")
    assert not history.is_arriving(b"a")


def test_there_is_one_for_each_server() -> None:
    store = SimpleNamespace(find_message_id=lambda name: [1] if name == b"<kept>" else [])
    settings = FrontEndSettings(limits=Limits(nntp_history_entries_max=2))
    services = SimpleNamespace(shared={}, settings=settings, store=store)
    history = history_of(services)  # type: ignore[arg-type]
    assert history_of(services) is history  # type: ignore[arg-type]
    history.remember(b"<gone>")
    known = [is_known(services, name) for name in (b"<kept>", b"<gone>", b"<new>")]  # type: ignore[arg-type]
    assert known == [True, True, False]
