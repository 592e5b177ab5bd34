"""72 verdicts: what mailjam's detectors say of each program of the catalogue, and of its fixed twin."""

from __future__ import annotations

import gc

import pytest

from harness.catalogue import Entry, entries
from harness.catalogue.judge import judge, table
from harness.exploration import Verdict

ENTRIES = entries()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.number:02}-{entry.title[:40]}")
def test_verdicts_of_a_program_and_its_twin(entry: Entry) -> None:
    buggy, fixed = judge(entry, False), judge(entry, True)
    gc.collect()  # a program that jams leaves sockets and loops behind: here, not in another test
    assert buggy.right, table([buggy, fixed])
    assert fixed.right, table([buggy, fixed])
    if entry.build is not None and buggy.expected:
        assert buggy.X, "the explorer sees every program that it can run"
    if fixed.certificate is not None:
        assert fixed.certificate.verdict is Verdict.PASS, fixed.certificate.text()
    if entry.verdict == "N" and buggy.certificate is not None:
        assert buggy.certificate.verdict is Verdict.PASS, buggy.certificate.text()


def test_there_are_36_programs_each_with_a_source() -> None:
    assert [entry.number for entry in ENTRIES] == list(range(1, 37))
    assert all(entry.source and entry.title for entry in ENTRIES)
    assert all((entry.build is None) != (entry.plain is None) for entry in ENTRIES)
