"""Our processes interrupt nobody who runs, unless the operator has said how they are scheduled."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os
from services.runtime.scheduling import prefer_batches
prefer_batches()
print(os.sched_getscheduler(0))
"""


@pytest.mark.parametrize(
    ("before", "after"), [("--other", os.SCHED_BATCH), ("--idle", os.SCHED_IDLE), ("--batch", os.SCHED_BATCH)]
)
def test_a_policy_that_nobody_has_chosen_becomes_that_of_batches(before: str, after: int) -> None:
    command = ["chrt", before, "0", sys.executable, "-c", PROGRAM]
    assert int(subprocess.run(command, capture_output=True, check=True, text=True).stdout) == after
