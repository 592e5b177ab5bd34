from __future__ import annotations

import pytest

import pytest_mailjam


def test_wrong_settings_come_back_as_a_line() -> None:
    with pytest.raises(RuntimeError, match="unknown build 'sp9'"):
        pytest_mailjam.start_process({"build": "sp9"})


def test_it_ends_with_its_input() -> None:
    started = pytest_mailjam.start_process({"users": ["alice:secret"]})
    assert {"smtp", "pop3", "imap", "nntp", "http"} <= set(started.addresses)
    with pytest.raises(RuntimeError, match="unknown verb"):
        started.fault("explode")
    started.close()
    assert started._process.returncode == 0
