"""Every fuzz target over its seeds, over what fuzzing once found, and over a few mutations."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _targets():
    name = "mailjam_fuzz_targets"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "targets.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="module", autouse=True)
def world():
    yield
    module = _targets()
    if module._world is not None:
        module._world.close()
        module._world = None


NAMES = ("smtp", "pop3", "imap", "nntp", "sasl", "wildmat", "dialogue", "conversion", "mime", "formats")
REGRESSIONS = sorted((HERE / "regressions").glob("*-*"))


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name):
    for seed in _targets().SEEDS[name]:
        _targets().TARGETS[name](seed)


def test_what_fuzzing_found():
    for path in REGRESSIONS:
        _targets().TARGETS[path.name.partition("-")[0]](path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_mutations(name):
    rng = random.Random(name)
    seeds = _targets().SEEDS[name]
    for _ in range(150):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(4):
                case 0:
                    data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(4)))
                case 1:
                    del data[at : at + rng.randrange(8)]
                case 2:
                    data[at : at + 1] = rng.choice([b"\r\n", b"\0", b"(", b"{9999999}", b'"', b"\xff", b"\\", b"*"])
                case _:
                    data[at:at] = data[at : at + rng.randrange(40)]
        _targets().TARGETS[name](bytes(data))
