"""The bus side of a query: what is published, and what is counted when it cannot be."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from services.orchestrator.bus_api import BusApi
from services.orchestrator.dispatch import Call
from services.runtime.auth.principals import BUS, Principal
from services.runtime.bus import Bus, BusAwayError, BusMessage
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
        self.is_away = False

    async def publish(self, _subject: str, body: bytes, *, headers: Mapping[str, str]) -> None:
        size = len(body) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + 12
        if self.is_away:
            raise BusAwayError
        if size > self.max_payload:
            raise MessageTooLargeError
        self.published.append((body, headers))


async def replies(
    gateway: Gateway, headers: dict[str, str] | None = None, *, bus: FakeBus | None = None
) -> list[tuple[bytes, Mapping[str, str]]]:
    """Ask over the bus; return all that is said."""
    bus = bus or FakeBus()
    await take(bus_api(gateway, bus), headers)
    return bus.published


async def anybody(_authorization: str | None) -> Principal:
    return BUS


def bus_api(gateway: Gateway, bus: FakeBus) -> BusApi:
    return BusApi(cast("Bus", bus), gateway.queries, gateway.admission, anybody)


async def take(api: BusApi, headers: dict[str, str] | None = None, *, reply: str = "inbox") -> None:
    """Let the query come over the bus, and return when it is answered."""
    query = json.dumps({"server": "a", "tool": "t"}).encode()
    nobody = cast("Any", None)
    await api.take(BusMessage(nobody, subject="mcp.v1.query", reply=reply, data=query, headers=headers))
    with anyio.fail_after(5):
        await api.finish(5)


async def ask(gateway: Gateway, headers: dict[str, str] | None = None) -> Any:
    """Ask over the bus; return the one answer."""
    [(body, told)] = await replies(gateway, headers)
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


def tell_progress(call: Call) -> None:
    for number in (1, 2):
        if call.on_progress is not None:
            call.on_progress(b'{"progress":%d,"message":"%s"}' % (number, b"x" * 8192 if number == 1 else b""))
            call.on_progress(b'{"progress":%d}' % number)


async def test_progress_comes_before_the_answer_and_names_the_query() -> None:
    gateway = await gateway_of_a()
    gateway.workers.fate = tell_progress
    *progress, (answer, told) = await replies(gateway, {"mcp-progress": "1"})
    request_id = json.loads(answer)["id"]
    assert told["mcp-status"] == "200"
    # The first is over what the bus takes.
    assert [body for body, _ in progress] == [b'{"progress":1}', b'{"progress":2,"message":""}', b'{"progress":2}']
    assert [dict(headers) for _, headers in progress] == [{"mcp-kind": "progress", "mcp-request-id": request_id}] * 3


async def test_progress_that_comes_after_the_answer_is_dropped() -> None:
    gateway, bus = await gateway_of_a(), FakeBus()
    await replies(gateway, {"mcp-progress": "1"}, bus=bus)
    tell_progress(gateway.workers.calls[0])
    for _ in range(10):
        await anyio.lowlevel.checkpoint()
    assert len(bus.published) == 1


@pytest.mark.parametrize("headers", [None, {"mcp-progress": "0"}, {"mcp-progress": ""}])
async def test_a_query_that_does_not_ask_for_progress_gets_one_message(headers: dict[str, str] | None) -> None:
    gateway = await gateway_of_a()
    gateway.workers.fate = tell_progress
    assert len(await replies(gateway, headers)) == 1
    assert gateway.workers.calls[0].on_progress is None


async def test_progress_that_cannot_be_sent_costs_no_answer() -> None:
    gateway, bus = await gateway_of_a(), FakeBus()

    def tell_while_away(call: Call) -> None:
        tell_progress(call)
        bus.is_away = True
        asyncio.get_running_loop().call_soon(setattr, bus, "is_away", False)

    gateway.workers.fate = tell_while_away
    replied = await replies(gateway, {"mcp-progress": "1"}, bus=bus)
    assert replied[-1][1]["mcp-status"] == "200"


class Caller:
    """Asks over the bus from an inbox of its own, by a clock of its own."""

    def __init__(self, api: BusApi, bus: FakeBus, *, inbox: str = "_INBOX.caller", clock_is_ahead_s: float = 0) -> None:
        self._api = api
        self._bus = bus
        self._inbox = inbox
        self._ahead_s = clock_is_ahead_s
        self._asked = 0

    async def ask(self, *, held_back_s: float = 0) -> Any:
        """Ask with the usual 30 s; the query comes so much later than it was sent. Return the answer."""
        sent_at_s = time.time() - held_back_s + self._ahead_s
        self._asked += 1
        reply = f"{self._inbox}.{self._ahead_s:g}-{self._asked}"
        await take(self._api, {"mcp-sent-at": str(int(sent_at_s * 1000))}, reply=reply)
        return json.loads(self._bus.published[-1][0])


@pytest.mark.parametrize("ahead_s", [-30, 0, 30])
async def test_a_query_that_the_bus_held_back_beyond_its_deadline_runs_nowhere(ahead_s: float) -> None:
    gateway, bus = await gateway_of_a(), FakeBus()
    caller = Caller(bus_api(gateway, bus), bus, clock_is_ahead_s=ahead_s)
    assert "result" in await caller.ask()
    late = await caller.ask(held_back_s=31)
    assert (late["status"], late["code"], late["executed"]) == (504, "timeout", "no")
    assert len(gateway.workers.calls) == 1
    assert "result" in await caller.ask()


async def test_what_a_query_was_held_back_for_is_taken_off_its_time() -> None:
    gateway, bus = await gateway_of_a(), FakeBus()
    caller = Caller(bus_api(gateway, bus), bus, clock_is_ahead_s=30)
    await caller.ask()
    answer = await caller.ask(held_back_s=10)
    assert gateway.workers.calls[1].deadline == pytest.approx(time.monotonic() + 20, abs=1)
    assert answer["timing_ms"]["total"] == pytest.approx(10_000, abs=1000)


async def test_callers_whose_clocks_differ_by_a_minute_do_each_other_no_harm() -> None:
    gateway, bus = await gateway_of_a(), FakeBus()
    api = bus_api(gateway, bus)
    callers = [
        Caller(api, bus, inbox=inbox, clock_is_ahead_s=ahead_s)
        for ahead_s in (30, -30)
        for inbox in (f"_INBOX.{ahead_s}", "_INBOX")  # also where each request has an inbox of its own
    ]
    for _ in range(3):
        for caller in callers:
            assert "result" in await caller.ask()
    assert all(call.deadline == pytest.approx(time.monotonic() + 30, abs=1) for call in gateway.workers.calls)


async def test_callers_with_an_inbox_for_each_request_do_not_make_us_forget_the_others() -> None:
    gateway, bus = await gateway_of_a(), FakeBus()
    api = bus_api(gateway, bus)
    caller, passing = Caller(api, bus), Caller(api, bus, inbox="_INBOX")
    assert "result" in await caller.ask()
    for _ in range(1100):
        await passing.ask()
    assert (await caller.ask(held_back_s=31))["code"] == "timeout"


async def test_a_time_of_sending_that_is_made_up_counts_as_the_longest_timeout() -> None:
    gateway, bus = await gateway_of_a(), FakeBus()
    refused = await Caller(bus_api(gateway, bus), bus).ask(held_back_s=time.time())
    assert refused["code"] == "timeout"
    observed = gateway.registry.get_sample_value("mcp_query_duration_seconds_sum", {"server": "a"})
    assert observed == pytest.approx(300, abs=1)


async def test_who_claims_to_ask_in_the_future_gets_no_more_time_for_it() -> None:
    gateway, bus = await gateway_of_a(), FakeBus()
    caller = Caller(bus_api(gateway, bus), bus, clock_is_ahead_s=1e9)
    assert "result" in await caller.ask()
    assert gateway.workers.calls[0].deadline == pytest.approx(time.monotonic() + 30, abs=1)


@pytest.mark.parametrize("sent_at", ["", "now", "-5", "1.5e12", "1_0", " 5", "٣", "9" * 16])
async def test_a_time_of_sending_that_is_none_is_refused(sent_at: str) -> None:
    gateway = await gateway_of_a()
    refused = await ask(gateway, {"mcp-sent-at": sent_at})
    assert (refused["status"], refused["code"]) == (422, "invalid_request")
    assert refused["errors"] == [{"pointer": "/headers/mcp-sent-at", "keyword": "pattern"}]
    assert not gateway.workers.calls
