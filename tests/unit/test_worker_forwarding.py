"""The worker passes on what its own configuration names, whatever the call carries."""

import time
from typing import Any

import pytest

from bus_schemas.calls import CallHeaders
from services.runtime.metrics import new_registry
from services.runtime.tracing import UnrecordedSpan
from services.worker.call_metrics import CallMetrics
from services.worker.execution import Execution
from services.worker.mcp.session import DEAF, Hearing
from services.worker.slots import Slots
from services.worker.states import GivenStates

pytestmark = pytest.mark.anyio


class Upstream:
    """Keeps the headers of the one request."""

    async def request(
        self,
        method: str,
        params: bytes,
        *,
        timeout_s: float,
        meta: dict[str, Any],
        headers: dict[str, str],
        hearing: Hearing = DEAF,
    ) -> bytes:
        self.headers = headers
        return b"{}"


@pytest.mark.parametrize(
    ("named", "passed"), [((), {}), (("x-tenant", "x-user"), {"x-tenant": "t"}), (("x-other",), {"x-other": "o"})]
)
async def test_a_header_that_the_workers_configuration_does_not_name_stays_behind(
    named: tuple[str, ...], passed: dict[str, str]
) -> None:
    upstream = Upstream()
    slots = Slots(1, longest_line=1, clock=time.monotonic)
    metrics = CallMetrics(new_registry(), "s", "1.0.0")
    execution = Execution(
        lambda _: upstream, slots, GivenStates(), metrics, UnrecordedSpan, timeout_s=5, forward_headers=named
    )
    headers = CallHeaders("01K", 1, 1, 1, "bus", forwarded={"x-tenant": "t", "x-other": "o"})
    await execution.run(b'{"method":"tools/call","params":{}}', headers, time.monotonic() + 5)
    assert upstream.headers == passed
