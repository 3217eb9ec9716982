"""The bus side of a query: what is published, and what is counted when it cannot be."""

import json
import time
from collections.abc import Mapping
from typing import Any, cast

import anyio
import pytest

from services.orchestrator.bus_api import BusApi
from services.runtime.auth.principals import BUS
from services.runtime.bus import Bus, BusMessage
from services.runtime.bus.connection import MessageTooLargeError
from services.runtime.config.policy import ServerPolicy
from services.runtime.errors import UpstreamRefusedError
from tests.unit.test_orchestrator_query import _TOOL, Gateway

pytestmark = pytest.mark.anyio

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


class FakeBus:
    """Keeps what is published, as long as it is no larger than the limit."""

    max_payload = 8192

    def __init__(self) -> None:
        self.published: list[tuple[bytes, Mapping[str, str]]] = []

    async def publish(self, _subject: str, body: bytes, *, headers: Mapping[str, str]) -> None:
        size = len(body) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + 12
        if size > self.max_payload:
            raise MessageTooLargeError
        self.published.append((body, headers))


async def ask(gateway: Gateway, headers: dict[str, str] | None = None) -> Any:
    """Ask over the bus; return the one answer."""
    bus = FakeBus()
    api = BusApi(cast("Bus", bus), gateway.queries, lambda _: BUS)
    query = json.dumps({"server": "a", "tool": "t"}).encode()
    nobody = cast("Any", None)
    await api.take(BusMessage(nobody, subject="mcp.v1.query", reply="inbox", data=query, headers=headers))
    with anyio.fail_after(5):
        await api.finish(time.monotonic() + 5)
    [(body, told)] = bus.published
    assert int(told["mcp-status"]) == json.loads(body).get("status", 200)
    return json.loads(body)


def counted(gateway: Gateway) -> list[float | None]:
    return [
        gateway.registry.get_sample_value("mcp_query_duration_seconds_count", {"server": server})
        for server in ("a", "unknown")
    ]


async def gateway_of_a() -> Gateway:
    gateway = Gateway(a=ServerPolicy())
    await gateway.announced.join("a", tools=[_TOOL])
    return gateway


@pytest.mark.parametrize("size", [6500, 7500, 100_000])
async def test_an_answer_too_large_for_the_bus_is_one_failure_of_its_server(size: int) -> None:
    gateway = await gateway_of_a()
    gateway.workers.result = b'{"x":"' + b"x" * size + b'"}'
    answer = await ask(gateway)
    assert answer.get("code") == (None if size == 6500 else "result_too_large")
    assert gateway.errors("a", "result_too_large") == (size > 6500)
    assert counted(gateway) == [1, 0]


async def test_a_problem_too_large_for_the_bus_is_told_as_such_and_counted_once() -> None:
    gateway = await gateway_of_a()
    gateway.workers.fate = lambda _: UpstreamRefusedError(mcp_error=b'{"code":1,"message":"' + b"x" * 8192 + b'"}')
    assert (await ask(gateway))["code"] == "result_too_large"
    assert gateway.errors("a", "upstream_refused") == 1
    assert counted(gateway) == [1, 0]


async def test_a_well_formed_trace_context_goes_on_and_no_other() -> None:
    gateway = await gateway_of_a()
    await ask(gateway, {"traceparent": TRACE, "tracestate": "a=1"})
    await ask(gateway, {"traceparent": "nonsense", "tracestate": "a=1"})
    assert [(call.traceparent, call.tracestate) for call in gateway.workers.calls] == [(TRACE, "a=1"), (None, None)]
