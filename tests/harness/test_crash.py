"""A few rounds of the crash test; the whole of it is `make crash`."""

from __future__ import annotations

import os
import subprocess

import pytest

from harness.crash import run_rounds


@pytest.mark.timeout(120)
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed():
    crash = await run_rounds(3, seed=os.getpid(), load_seconds_max=0.5)
    assert crash.wrong == []
    assert crash.acknowledged > 20


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ["writes", "full"])
async def test_nothing_acknowledged_is_lost_when_the_disk_refuses(fault):
    try:
        crash = await run_rounds(1, seed=os.getpid(), load_seconds_max=0.5, fault=fault)
    except subprocess.CalledProcessError:
        pytest.skip("a file system that fills up needs the right to mount a tmpfs")
    assert crash.wrong == []
    assert crash.acknowledged > 20
