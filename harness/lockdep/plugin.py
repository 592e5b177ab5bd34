"""`pytest --lockdep`: every test is watched; findings that are defects fail it, the others are told at the end.

The option itself is declared by the distribution's pytest plugin, which registers this module when it was given, so
that nothing here is imported unless it is used. Where mailjam is installed it works for any project's suite.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from harness.lockdep.findings import Finding
from harness.lockdep.watch import Watch

_NAME: Final = "mailjam-lockdep-hooks"
BLOCKS_MAX: Final = 20


def pytest_configure(config: pytest.Config) -> None:
    """Register the hooks when the option was given. MAILJAM_LOCKDEP_JSON: a file for all findings, as JSON lines."""
    if config.getoption("--lockdep", default=False) and not config.pluginmanager.has_plugin(_NAME):
        path = os.environ.get("MAILJAM_LOCKDEP_JSON")
        config.pluginmanager.register(LockdepHooks(Path(path) if path else None), _NAME)


class LockdepHooks:
    """A watch per test, from before its fixtures to after its call."""

    def __init__(self, json_path: Path | None = None) -> None:
        self.json_path = json_path
        self.notes: dict[str, tuple[str, Finding]] = {}
        self.tests = 0
        self._watch: Watch | None = None
        if json_path is not None:
            json_path.write_text("")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if Watch._running is None:  # a test of the watch itself starts one of its own
            self._watch = Watch().start()
            self.tests += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        result = yield
        watch = self._watch
        if watch is not None:
            findings = watch.findings()
            self._keep(item.nodeid, findings)
            failing = [finding for finding in findings if finding.fails]
            if failing:
                pytest.fail("\n\n".join(finding.text() for finding in failing[:BLOCKS_MAX]), pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        try:
            return (yield)
        finally:
            if self._watch is not None:
                self._watch.stop()
                self._watch = None

    def _keep(self, nodeid: str, findings: list[Finding]) -> None:
        for finding in findings:
            if not finding.fails:
                self.notes.setdefault(f"{finding.kind} {finding.verdict} {finding.signature}", (nodeid, finding))
        if self.json_path is not None and findings:
            with self.json_path.open("a") as file:
                file.writelines(json.dumps({"test": nodeid, **finding.as_dict()}) + "\n" for finding in findings)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("lockdep")
        terminalreporter.write_line(f"{self.tests} tests watched, {len(self.notes)} notes that fail nothing")
        for nodeid, finding in list(self.notes.values())[:BLOCKS_MAX]:
            terminalreporter.write_line(f"in {nodeid}")
            terminalreporter.write_line(finding.text())
