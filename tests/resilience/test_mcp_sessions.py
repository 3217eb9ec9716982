"""MCP clients do not notice that an orchestrator restarts, and their sessions leave nothing behind."""

import pytest

from tests.bench.mcp_sessions import SERVERS, memory_after, restarted_in_the_middle
from tests.support.fleet import fleet

pytestmark = pytest.mark.anyio

CLIENTS = 100
SESSIONS = 1000
MOST_GROWTH_BYTES = 4 * 2**20


async def test_clients_of_both_eras_see_no_error_while_an_orchestrator_restarts_and_sessions_go_on() -> None:
    """In full: python -m tests.bench.mcp_sessions."""
    async with fleet(SERVERS, orchestrators=2) as running:
        report = await restarted_in_the_middle(running, CLIENTS)
    assert report.failed == []
    assert report.calls >= 4 * CLIENTS
    assert len(report.by_orchestrator) == 2


async def test_sessions_leave_no_memory_behind() -> None:
    async with fleet(SERVERS, orchestrators=2) as running:
        before, after = await memory_after(running, SESSIONS, before=SESSIONS)
    assert after - before < MOST_GROWTH_BYTES
