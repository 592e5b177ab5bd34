"""The seed scenario as data."""

from emulator.builds import find_build
from harness.scenarios.q279798 import SCENARIO


def test_the_builds_have_and_lack_the_defect() -> None:
    assert SCENARIO.defect in find_build(SCENARIO.defective_build).defects
    assert SCENARIO.defect not in find_build(SCENARIO.patched_build).defects
    assert len(SCENARIO.symptoms) >= 4
