"""One trace over HTTP, the bus, a worker and MCP: sent to a collector that may be away, and to nobody by default."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from services.runtime.tracing import TracingSettings
from tests.support.fleet import Fleet, fleet, python_server
from tests.support.otlp_collector import Collector, collector
from tests.support.ports import free_port
from tests.support.processes import REPOSITORY
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

TRACE_ID, CALLERS_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE_ID}-{CALLERS_SPAN}-01"
UNSAMPLED = f"00-{TRACE_ID}-{CALLERS_SPAN}-00"
SECRET = "the secret word"
REFUSED = "refused\x1b[31m\u0085"
CONFIG = {
    "teller": python_server("tests.support.mcp_servers.telling_meta", version="1.2.3"),
    "away": python_server("tests.support.mcp_servers.telling_meta"),
}
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
"""How long OpenTelemetry keeps spans together before it sends them, in milliseconds."""


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector() as collected:
        yield collected


@pytest.fixture
async def running(collected: Collector) -> AsyncIterator[Fleet]:
    # FastAPI would send spans of its own, with URLs and the texts of exceptions, if it were let.
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collected.url, "FASTAPI_OTEL_AUTO_CONFIGURE": "true", **SOON}
    async with fleet(CONFIG, workers={"teller": 1}, env=env) as running:
        yield running


def query(tool: str = "meta", server: str = "teller") -> dict[str, object]:
    return {"server": server, "tool": tool, "arguments": {"word": SECRET}}


@pytest.mark.parametrize("edge", ["http", "bus"])
async def test_one_trace_leads_from_the_caller_to_the_mcp_server(
    running: Fleet, collected: Collector, edge: str
) -> None:
    headers = {"traceparent": SAMPLED, "tracestate": "vendor=1"}
    answer = await running.asking(edge)(query(), headers=headers)
    assert answer.status == 200
    await until(lambda: len(collected.spans) >= 4)
    asked, attempt, call, upstream = map(collected.named, ("query", "attempt", "call", "upstream"))
    assert {(span.trace_id, span.tracestate) for span in collected.spans} == {(TRACE_ID, "vendor=1")}
    line = [CALLERS_SPAN, asked.span_id, attempt.span_id, call.span_id]
    assert [asked.parent_id, attempt.parent_id, call.parent_id, upstream.parent_id] == line
    assert [span.service for span in (asked, attempt)] == ["busbar-orchestrator"] * 2
    assert [span.service for span in (call, upstream)] == ["busbar-worker"] * 2
    assert [span.is_client for span in (asked, attempt, call, upstream)] == [False, True, False, True]
    seen = answer.json["result"]["seen"]
    assert seen["traceparent"] == f"00-{TRACE_ID}-{upstream.span_id}-01"
    assert seen["tracestate"] == "vendor=1"
    assert collected.paths == {"/v1/traces"}


async def test_spans_tell_who_and_what_became_of_it_and_nothing_of_the_content(
    running: Fleet, collected: Collector
) -> None:
    for tool in ("meta", REFUSED):
        await running.ask_http(query(tool))
    await running.ask_http(query("no such tool"))
    await running.ask_http({"server": "teller", "resource": f"https://internal/{SECRET}"})
    await until(lambda: collected.names().count("query") >= 4 and collected.names().count("call") >= 3)
    asked = [span.attributes for span in collected.spans if span.name == "query"]
    told = {span.get("gen_ai.tool.name"): span.get("error.type") for span in asked}
    assert (told["meta"], told[REFUSED]) == (None, "upstream_refused")
    assert len(told) == 3  # the third is None: neither the tool that nobody lists nor the resource is named
    assert {span["busbar.server"] for span in asked} == {"teller"}
    attempt = next(span.attributes for span in collected.spans if span.name == "attempt")
    assert attempt == {"busbar.server": "teller", "busbar.version": "1.2.3", "busbar.attempt": 1, "busbar.cache": "off"}
    failed = {span.name for span in collected.spans if span.attributes.get("error.type") == "upstream_refused"}
    assert failed == {"query", "attempt", "call", "upstream"}
    assert not any(SECRET.encode() in body or b"internal/" in body or b"no such" in body for body in collected.bodies)


async def test_a_query_without_a_trace_begins_one_and_an_unsampled_one_is_left_alone(
    running: Fleet, collected: Collector
) -> None:
    passed = await running.ask_http(query(), headers={"traceparent": UNSAMPLED})
    begun = await running.ask_http(query())
    await until(lambda: len(collected.spans) >= 4)
    assert collected.names() == ["attempt", "call", "query", "upstream"]
    assert collected.named("query").parent_id == ""
    assert begun.json["result"]["seen"]["traceparent"].split("-")[1] == collected.named("query").trace_id
    assert passed.json["result"]["seen"]["traceparent"].endswith("-00")


async def test_a_collector_that_is_away_costs_no_query_and_no_orderly_end() -> None:
    env = {"BUSBAR_OTLP_URL": f"http://127.0.0.1:{free_port()}", **SOON}
    async with fleet(CONFIG, workers={"teller": 1}, env=env) as running:
        for _ in range(5):
            assert (await running.ask_http(query())).status == 200
        process = running.orchestrators[0].process
        await until(lambda: "collector takes no traces" in process.stderr(), timeout_s=20)
        assert (await running.ask_http(query())).status == 200
        process.signal(signal.SIGTERM)
        assert await process.wait(timeout_s=15) == 0
        said = process.stderr()
        assert said.count("collector takes no traces") == 1
        assert env["BUSBAR_OTLP_URL"] not in said
        worker = running.workers[0].process
        assert await worker.terminate(timeout_s=15) == 0


async def test_without_a_collector_the_callers_context_passes_as_it_is() -> None:
    async with fleet(CONFIG, workers={"teller": 1}) as running:
        answer = await running.ask_http(query(), headers={"traceparent": SAMPLED, "tracestate": "vendor=1"})
    seen = answer.json["result"]["seen"]
    assert (seen["traceparent"], seen["tracestate"]) == (SAMPLED, "vendor=1")


async def test_without_a_collector_the_sdk_of_opentelemetry_is_not_even_imported() -> None:
    # Its parts for metrics are: redis imports whatever of OpenTelemetry there is.
    unwanted = "{'opentelemetry.sdk.trace', 'opentelemetry.exporter', 'services.runtime.otlp'}"
    code = f"import sys, services.orchestrator.app, services.worker.app; sys.exit(bool({unwanted} & {{*sys.modules}}))"
    run = await anyio.to_thread.run_sync(
        lambda: subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60, check=False)
    )
    assert run.returncode == 0


@pytest.mark.parametrize("variable", ["BUSBAR_OTLP_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_the_collector_is_named_by_our_variable_or_by_opentelemetrys(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    assert TracingSettings().otlp_url is None
    monkeypatch.setenv(variable, "http://collector:4318")
    url = TracingSettings().otlp_url
    assert url is not None
    assert url.get_secret_value() == "http://collector:4318"
