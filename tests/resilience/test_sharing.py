"""A thousand callers at once: all answered, and every process does its part."""

from pathlib import Path

import pytest

from tests.resilience.test_leaving import assert_nothing_happened
from tests.support.account import read_account
from tests.support.fleet import fleet, ledger_server
from tests.support.load_process import load_process

pytestmark = pytest.mark.anyio

CALLERS = 1000
FAIR_SHARE = 0.2


async def test_a_thousand_slow_calls_at_once_are_answered_and_shared(tmp_path: Path) -> None:
    ledger, record = tmp_path / "ledger", tmp_path / "record"
    async with fleet(
        {"ledger": ledger_server(ledger, max_in_flight=400)}, orchestrators=2, workers={"ledger": 3}
    ) as running:
        async with load_process(
            record, server="ledger", urls=running.urls, concurrency=CALLERS, total=CALLERS, ms=1000
        ) as load:
            await load.finished()

    account = read_account(ledger, record, deadline_s=30)
    assert_nothing_happened(account)
    assert len(account.by_instance) == 3
    assert min(account.by_instance.values()) > FAIR_SHARE * CALLERS
    assert min(account.by_pid.values()) > FAIR_SHARE * CALLERS
