"""What becomes of calls, as a worker counts it."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from bus_schemas.calls import CallHeaders
from services.runtime.errors import (
    DeadlineExceededError,
    OverloadedError,
    QueryError,
    UpstreamError,
    UpstreamRefusedError,
)
from services.runtime.metrics import new_registry
from services.runtime.tracing import UnrecordedSpan
from services.worker.call_metrics import CallMetrics
from services.worker.execution import Execution, Upstream
from services.worker.slots import Slots
from services.worker.states import GivenStates

pytestmark = pytest.mark.anyio

OUTCOMES = [
    (None, "ok"),
    (DeadlineExceededError, "timeout"),
    (OverloadedError, "overloaded"),
    (UpstreamError, "upstream_error"),
    (UpstreamRefusedError, "upstream_refused"),
    (RuntimeError, "internal"),
    (asyncio.CancelledError, "cancelled"),
]


class Fated:
    """A session in which one thing becomes of every call."""

    def __init__(self, error: Callable[[], BaseException] | None) -> None:
        self._error = error

    async def request(self, *_: object, **__: object) -> bytes:
        if self._error is not None:
            raise self._error()
        return b"{}"


async def run(registry: CollectorRegistry, error: type[BaseException] | None, *, body: bytes | None = None) -> None:
    upstream = cast("Upstream", Fated(error))
    slots = Slots(1, longest_line=1, clock=time.monotonic)
    metrics = CallMetrics(registry, "s", "1.0.0")
    execution = Execution(lambda _: upstream, slots, GivenStates(), metrics, UnrecordedSpan, timeout_s=5)
    headers = CallHeaders("01K", 1, 1, 1, "bus")
    await execution.run(body or b'{"method":"tools/call","params":{}}', headers, time.monotonic() + 5)


def counted(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"mcp_worker_{name}", {"server": "s", "version": "1.0.0", **labels})


@pytest.mark.parametrize(("error", "outcome"), OUTCOMES, ids=[outcome for _, outcome in OUTCOMES])
async def test_a_call_counts_as_what_became_of_it_and_its_time_at_the_server_always(
    error: type[BaseException] | None, outcome: str
) -> None:
    registry = new_registry()
    if error is None:
        await run(registry, None)
    else:
        with pytest.raises(error):
            await run(registry, error)
    assert {one: counted(registry, "calls_total", outcome=one) for _, one in OUTCOMES} == {
        one: float(one == outcome) for _, one in OUTCOMES
    }
    assert counted(registry, "upstream_seconds_count") == counted(registry, "queue_seconds_count") == 1


async def test_a_call_that_got_no_slot_took_no_time_of_the_server() -> None:
    registry = new_registry()
    with pytest.raises(QueryError):
        await run(registry, None, body=b"not JSON")
    assert counted(registry, "calls_total", outcome="internal") == 1
    assert counted(registry, "upstream_seconds_count") == 0


@pytest.mark.parametrize("outcome", ["ok", "timeout", "overloaded", "upstream_error", "server_unavailable"])
def test_every_outcome_is_there_before_the_first_call(outcome: str) -> None:
    registry = new_registry()
    CallMetrics(registry, "s", "1.0.0")
    assert counted(registry, "calls_total", outcome=outcome) == 0
    assert counted(registry, "upstream_seconds_count") == 0
