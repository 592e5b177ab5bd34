"""Names of tasks."""

from protocols.actor import NOBODY, Actor, current_actor


def test_an_actor_reads_like_what_it_does() -> None:
    actor = Actor("imap", 3, user="alice", doing="FETCH 1 BODY[]")
    assert str(actor) == "imap-3 alice FETCH 1 BODY[]"
    actor.user = actor.doing = ""
    assert str(actor) == actor.name == "imap-3"


def test_numbers_ascend_for_each_kind() -> None:
    first, second = Actor("test-kind"), Actor("test-kind")
    assert second.number == first.number + 1


def test_nobody_is_current_outside_of_tasks() -> None:
    assert current_actor.get() is NOBODY
