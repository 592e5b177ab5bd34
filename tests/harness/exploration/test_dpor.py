"""The reduction: known numbers of classes, equality with brute force, and a broken variant that must be caught."""

from __future__ import annotations

import random

import pytest

from harness.exploration import Actor, Cell, Lock, ProgramError, Queue, SourceDpor, brute_force, check_soundness
from harness.exploration.oracle import KINDS, compare, main, random_program
from harness.exploration.samples import patched_two_locks, philosophers, two_locks


def kinds(search: SourceDpor) -> list[str]:
    return [outcome.kind for outcome in search]


def test_two_locks_jam_in_the_second_of_three_executions() -> None:
    search = SourceDpor(two_locks)
    assert kinds(search) == ["done", "jam", "done"]
    assert search.exhausted
    assert search.statistics.pruned == 0


def test_the_patched_program_is_exhausted_in_two() -> None:
    search = SourceDpor(patched_two_locks)
    assert kinds(search) == ["done", "done"]
    assert search.exhausted


def test_ten_operations_each_need_no_more_executions() -> None:
    search = SourceDpor(lambda: two_locks(reads=6))
    assert len(list(search)) == 3


@pytest.mark.parametrize("count", [3, 4, 5])
def test_philosophers_have_two_to_the_n_minus_one_classes(count: int) -> None:
    search = SourceDpor(philosophers(count))
    assert kinds(search).count("jam") == 1
    assert search.statistics.executions == 2**count - 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_oracle_agrees_on_random_programs(seed: int) -> None:
    report = compare(60, seed, schedules_max=150)
    assert report.programs == 60
    assert report.mismatches == []
    assert report.classes < report.schedules


def test_a_deliberately_broken_explorer_is_caught() -> None:
    report = compare(120, 1, schedules_max=150, detect_blocked=False)
    assert report.mismatches


def test_the_oracle_command_reports_and_returns_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--programs", "30", "--schedules-max", "100"]) == 0
    printed = capsys.readouterr().out
    assert "0 mismatches" in printed
    assert "broken explorer" in printed


def test_random_programs_are_repeatable_data() -> None:
    one, two = random.Random(5), random.Random(5)
    assert [random_program(one, kind) for kind in KINDS] == [random_program(two, kind) for kind in KINDS]


def test_a_program_with_stray_randomness_is_refused() -> None:
    count = 0

    def program() -> list[Actor]:
        nonlocal count
        count += 1
        cell = Cell("c", 0)
        other = Cell("stray", 0)

        async def body(turn: int) -> None:
            await (cell if turn % 2 else other).write(1)
            await cell.write(2)

        return [Actor("a", body(count)), Actor("b", body(count))]

    with pytest.raises(ProgramError, match="not deterministic"):
        list(SourceDpor(program))


def test_the_step_limit_makes_the_search_incomplete() -> None:
    def endless() -> list[Actor]:
        cell = Cell("c", 0)

        async def spin() -> None:
            while await cell.read() == 0:
                pass

        return [Actor("a", spin()), Actor("b", spin())]

    search = SourceDpor(endless, steps_max=20)
    assert {outcome.kind for outcome in search} == {"cut"}
    assert not search.exhausted


def test_soundness_check_compares_with_the_full_search() -> None:
    def program() -> list[Actor]:
        queue, lock = Queue("q", 1), Lock("l")

        async def producer() -> None:
            async with lock:
                await queue.put(1)
                await queue.put(2)

        async def consumer() -> None:
            await queue.get()
            async with lock:
                await queue.get()

        return [Actor("producer", producer()), Actor("consumer", consumer())]

    assert check_soundness(program) is True
    assert check_soundness(philosophers(4), executions_max=10) is None
    jams = {outcome.kind for outcome in brute_force(program)}
    assert jams == {"done", "jam"} or jams == {"done"}
