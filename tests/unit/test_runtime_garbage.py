"""What a process has built when it starts is not looked through again."""

import subprocess
import sys

from tests.support.processes import REPOSITORY

_PROGRAM = """
import gc
import services.orchestrator.app
from services.runtime.garbage import spare_collector
spare_collector()
print(len(gc.get_objects()))
"""


def test_the_collector_has_nothing_left_to_look_through_when_a_process_has_started() -> None:
    """Without it there are a hundred thousand objects."""
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    assert int(ran.stdout) < 1000
