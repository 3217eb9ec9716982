"""A flush of the cache means it: no query that comes after it is answered from before, on any orchestrator."""

import pytest

from tests.bench.flushes import flushable

pytestmark = pytest.mark.anyio


async def test_no_read_after_a_flush_is_answered_from_before_it_also_where_an_orchestrator_was_frozen() -> None:
    async with flushable() as start:
        report = await start(150).measure(20, freeze_every=10)
    assert report.from_before == []
    assert (report.failed, report.wrongly_incomplete, report.silently_complete) == (0, 0, 0)
    assert (report.flushes, report.incomplete) == (20, 2)
    assert report.hits > 20
