"""`pytest --lockdep` in a run of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import asyncio

async def take(first, second, pause):
    async with first:
        if pause:
            await asyncio.sleep(0)
        async with second:
            pass

async def both(pause):
    a, b, turn = asyncio.Lock(), asyncio.Lock(), asyncio.Event()
    async def early():
        await take(a, b, pause)
        turn.set()
    async def late():
        await turn.wait()
        await take(b, a, pause)
    await asyncio.gather(early(), late())

def test_feasible():
    asyncio.run(both(True))

def test_latent():
    asyncio.run(both(False))

def test_clean():
    pass
"""


def test_feasible_orders_fail_and_latent_ones_are_told(tmp_path: Path) -> None:
    (tmp_path / "test_locks.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:xdist"]
    command += ["--lockdep", "-q", "test_locks.py"]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "MAILJAM_LOCKDEP_JSON": "found.jsonl"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "lockdep: order (feasible)" in done.stdout
    assert "lockdep: order (latent)" in done.stdout
    assert "3 tests watched" in done.stdout
    found = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert sorted(entry["verdict"] for entry in found) == ["feasible", "latent"]
