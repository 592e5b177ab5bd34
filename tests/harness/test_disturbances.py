from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from emulator.config import SettingsError
from emulator.server import Server
from harness.disturbances import Disturbances
from harness.workbench import Workbench


async def test_a_script_is_armed(start_server: Callable[..., Awaitable[Server]], tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text('[[fault]]\nverb = "error"\ncommand = "RCPT"\n')
    server = await start_server()
    Disturbances("", script).start(server)
    assert [str(active.fault) for active in Workbench.of(server).faults] == ["error command=RCPT"]


def test_mistakes_are_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        Disturbances("", tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("x")
    with pytest.raises(SettingsError, match="not TOML"):
        Disturbances("", tmp_path / "bad.toml")
    with pytest.raises(SettingsError, match="mqtt://HOST:1883/prefix"):
        Disturbances("http://x", None)
