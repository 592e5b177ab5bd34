"""`python tests/fuzz/fuzz.py TARGET [-max_total_time=600] [CORPUS_DIR]`: coverage-guided fuzzing with atheris.

What it finds it writes to `crash-*` or `timeout-*`; a repaired one goes to `tests/fuzz/regressions/TARGET-*`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import atheris

with atheris.instrument_imports(include=["protocols", "emulator", "harness.dialogue"]):
    from targets import SEEDS, TARGETS


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"usage: fuzz.py {'|'.join(TARGETS)} [libFuzzer options] [corpus folder]")
    name = sys.argv.pop(1)
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    if folders:
        folders[0].mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(SEEDS[name]):
            (folders[0] / f"seed-{number}").write_bytes(seed)
    atheris.Setup([*sys.argv, "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
