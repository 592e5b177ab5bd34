"""The architecture and the style rules of docs/ARCHITECTURE.md, as tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocols", "emulator", "harness")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in SOURCES]

SANS_IO = {"asyncio", "socket", "ssl", "threading", "time", "random", "select", "subprocess", "multiprocessing"}


FILE_LINES_MAX = 620
FUNCTION_LINES_MAX = 75
SECRETS_OF_A_WORKPLACE = re.compile(
    r"/work/main|/work/shared|/tmp/[a-z]|/root/|pyenv|helper-\d|registry\.npmjs|pypi\.org/simple"
)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(tree: ast.Module, path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                parts = path.relative_to(ROOT).parts[: -node.level]
                names.add(".".join([*parts, node.module or ""]).strip("."))
            elif node.module:
                names.add(node.module)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_imports_go_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    above = {"protocols": {"emulator", "harness"}, "emulator": {"harness"}, "harness": set()}[package]
    roots = {name.split(".")[0] for name in imported(tree_of(path), path)}
    assert not roots & above, f"{package} may not import {roots & above}"


SANS_IO_NAMES = [name for name in NAMES if name.startswith("protocols/")]


@pytest.mark.parametrize("name", SANS_IO_NAMES)
def test_protocols_are_sans_io(name: str) -> None:
    path = ROOT / name
    roots = {name.split(".")[0] for name in imported(tree_of(path), path)}
    assert not roots & SANS_IO, f"{name} imports {roots & SANS_IO}"


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= FILE_LINES_MAX, f"{path.name} has {text.count(chr(10))} lines: split it by subject"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{path.name}: {node.name} has {lines} lines"


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), f"{path.name} has no docstring"


COVERED_BY = {
    "emulator/changes.py": "emulator/test_store.py",
    "emulator/content.py": "emulator/test_store.py",
    "emulator/folder.py": "emulator/test_store.py",
    "emulator/hierarchy.py": "emulator/test_store.py",
    "emulator/turns.py": "emulator/test_store.py",
    "emulator/property_tags.py": "emulator/test_properties.py",
    "emulator/durable/": "emulator/durable",
    "emulator/gateways/": "emulator/gateways",
    "emulator/imail/": "emulator/imail",
    "harness/catalogue/": "catalogue",
    "harness/check.py": "emulator/durable",
    "harness/exploration/": "harness/exploration",
    "harness/lockdep/": "harness/lockdep",
    "harness/probes.py": "harness/test_watch.py",
    "harness/scenarios/": "harness/scenarios",
    "protocols/imap/": "protocols/imap",
    "protocols/ports.py": "emulator/test_server.py",
}
"""Sources that are tested together: several files behind one interface, or data that one test goes through."""


def test_a_test_file_for_each_source_file() -> None:
    tests = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    missing = []
    for path in SOURCES:
        relative = path.relative_to(ROOT)
        name, wanted = relative.as_posix(), relative.with_name(f"test_{relative.name}").as_posix()
        if relative.name in ("__init__.py", "__main__.py") or wanted in tests:
            continue
        together = next((test for source, test in COVERED_BY.items() if name.startswith(source)), None)
        if together is None or not any(test.startswith(together) for test in tests):
            missing.append(wanted)
    assert not missing, "no test file: " + ", ".join(missing)


def test_nothing_of_a_workplace_is_committed() -> None:
    found = []
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if not path.is_file() or any(part.startswith(".") and part != ".ci" for part in parts):
            continue
        if "node_modules" in parts or path.suffix not in {
            ".py",
            ".md",
            ".toml",
            ".txt",
            ".json",
            ".html",
            ".js",
            ".css",
            "",
        }:
            continue
        text = path.read_text("utf-8", "replace")
        if path != Path(__file__) and (match := SECRETS_OF_A_WORKPLACE.search(text)):
            found.append(f"{path.relative_to(ROOT)}: {match.group()}")
    assert not found
