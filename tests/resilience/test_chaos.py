"""Every row of `python -m tests.chaos`, in a short form: faults under load lose nothing and run nothing twice."""

from collections.abc import AsyncIterator

import pytest

from tests.chaos import suite
from tests.chaos.fault import Fault
from tests.chaos.running import PATIENCE_SHORT, Runner, runner

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def rows(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runner]:
    async with runner(tmp_path_factory.mktemp("chaos"), is_short=True, patience=PATIENCE_SHORT) as one:
        yield one


@pytest.mark.parametrize("fault", suite.FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_under_load_loses_nothing_and_runs_nothing_twice(rows: Runner, fault: Fault) -> None:
    """Each row was seen to fail with its protection taken out: `docs/guarantees.md` says what was taken out."""
    report = await rows.run(fault)
    assert report.wrong == ()
