"""The processor time of a way's parts: what a process has started is its own, unless it is a part itself."""

import sys

import psutil
import pytest

from tests.bench.components import resident_mb, spent_s
from tests.support.processes import descendants, running
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

BUSY = "sum(range(30_000_000)); print('done', flush=True); input()"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {BUSY!r}], stdin=subprocess.PIPE)
child.wait()
"""


async def test_a_childs_time_is_its_parents_unless_it_is_a_part_itself() -> None:
    async with running([sys.executable, "-c", PARENT]) as parent:
        await until(lambda: "done" in parent.stdout(), timeout_s=60)
        (child,) = descendants(parent.pid)
        spent = psutil.Process(child).cpu_times()
        assert spent_s({"gateway": parent.pid})["gateway"] >= spent.user + spent.system
        apart = spent_s({"gateway": parent.pid, "server": child})
        assert apart["server"] >= spent.user + spent.system > apart["gateway"]
        assert resident_mb({"gateway": parent.pid, "server": child})["server"] > 1
