"""`mailjam reproduce`, `verify` and `demo`."""

import json

import pytest

from harness.cli import main


def test_reproduce_shows_the_jam(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "q279798", "--inbound", "nntp", "--outbound", "nntp"]) == 0
    out = capsys.readouterr().out
    assert "5.5.2653.23: nntp in, nntp out: jammed" in out
    assert "the wait-for graph has a cycle" in out


def test_reproduce_on_a_patched_build_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "q279798", "--build", "5.5.2654.29", "--repeat", "3"]) == 1
    assert "0 of 3 runs jammed" in capsys.readouterr().out


def test_reproduce_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "q279798", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "jammed"


def test_verify_covers_all_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "q279798"]) == 0
    out = capsys.readouterr().out
    assert "5.5.2653.23: 12 of 12 jammed" in out
    assert "5.5.2654.29: 0 of 12 jammed" in out


def test_the_demo_observes_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n  yes  ") == 10
    assert "  NO   " not in out
