"""/metrics of every service: what is there, that tools can read it, and that no caller can add to it."""

import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from tests.support.fleet import Fleet, fleet, ledger_server, record
from tests.support.ports import free_port
from tests.support.processes import wait_ready
from tests.support.servers import nats_server

pytestmark = pytest.mark.anyio

SERVICES = ["orchestrator", "worker", "health", "admin"]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = "00-1bf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
MARK = "hostile"
"""What every text of a hostile caller holds."""

_OF_EVERY_SERVICE = {
    "mcp_bus_connected",
    "mcp_bus_reconnects_total",
    "busbar_build_info",
    "busbar_event_loop_lag_seconds",
}
_THE_CUSTOMERS = 'non-counter metrics should not have "_total" suffix'

Urls = dict[str, str]


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    ledger = tmp_path_factory.mktemp("metrics") / "ledger.jsonl"
    config = {"ledger": ledger_server(ledger, version="1.0.0"), "away": ledger_server(ledger)}
    async with fleet(config, workers={}) as running:
        yield running


@pytest.fixture(scope="module")
async def urls(running: Fleet) -> Urls:
    """Where each service is."""
    worker = free_port()
    await running.start_worker("ledger", env={"BUSBAR_METRICS_PORT": str(worker)})
    await running.wait_connected()
    urls = {"orchestrator": running.urls[0], "worker": f"http://127.0.0.1:{worker}"}
    for service in ("health", "admin"):
        port = free_port()
        process = await running.start_process(f"services.{service}", env={f"BUSBAR_{service.upper()}_PORT": str(port)})
        urls[service] = f"http://127.0.0.1:{port}"
        await wait_ready(process, f"{urls[service]}/readyz")
    return urls


async def scrape(url: str, accept: str = "text/plain") -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"{url}/metrics", headers={"accept": accept})).text


def series(text: str) -> dict[str, float]:
    """The samples of an exposition: name and labels, and the value."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return series(text)[f"{name}{sorted(labels.items())}"]


@pytest.mark.parametrize("service", SERVICES)
async def test_promtool_has_nothing_to_say_but_about_the_customers_own_name(urls: Urls, service: str) -> None:
    text = await scrape(urls[service])
    checked = await anyio.to_thread.run_sync(
        partial(
            subprocess.run, ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, timeout=30
        )
    )
    said = (checked.stdout + checked.stderr).splitlines()
    expected = [f"mcp_servers_connected_total {_THE_CUSTOMERS}"] if service == "orchestrator" else []
    assert said == expected


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_tells_of_its_bus_its_release_and_its_event_loop(urls: Urls, service: str) -> None:
    text = await scrape(urls[service])
    assert {line.partition("{")[0].partition(" ")[0] for line in text.splitlines()} >= _OF_EVERY_SERVICE
    assert value(text, "mcp_bus_connected") == 1
    assert value(text, "mcp_bus_reconnects_total") == 0
    assert value(text, "busbar_event_loop_lag_seconds") >= 0


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_can_be_read_as_openmetrics(urls: Urls, service: str) -> None:
    text = await scrape(urls[service], OPENMETRICS)
    assert text.endswith("# EOF\n")
    assert [*openmetrics_families(text)]  # type: ignore[no-untyped-call]


async def test_a_worker_counts_its_calls_and_where_their_time_goes(running: Fleet, urls: Urls) -> None:
    before = await scrape(urls["worker"])
    assert (await running.ask_http(record("ledger"))).status == 200
    after = await scrape(urls["worker"])

    def grown(name: str, **labels: str) -> float:
        labels |= {"server": "ledger", "version": "1.0.0"}
        return value(after, f"mcp_worker_{name}", **labels) - value(before, f"mcp_worker_{name}", **labels)

    assert grown("calls_total", outcome="ok") == 1
    assert grown("calls_total", outcome="timeout") == 0
    assert grown("queue_seconds_count") == grown("upstream_seconds_count") == 1
    assert grown("upstream_seconds_sum") > 0
    own = {"server": "ledger", "version": "1.0.0"}
    assert value(after, "mcp_worker_session_up", **own) == value(after, "mcp_worker_catalogue_lists_total", **own) == 1
    assert value(after, "mcp_worker_session_restarts_total", **own) == 0
    assert value(after, "mcp_worker_probe_latency_seconds", **own) > 0
    assert value(after, "mcp_worker_state", state="serving", **own) == 1
    assert value(after, "mcp_worker_state", state="draining", **own) == 0


async def test_an_orchestrator_tells_where_the_time_of_a_query_went(running: Fleet, urls: Urls) -> None:
    before = await scrape(urls["orchestrator"])
    answer = await running.ask_http(record("ledger", ms=50))
    after = await scrape(urls["orchestrator"])

    def grown(hop: str, what: str) -> float:
        name = f"mcp_query_hop_seconds_{what}"
        return value(after, name, hop=hop) - value(before, name, hop=hop)

    assert {hop: grown(hop, "count") for hop in ("queue", "upstream", "busbar")} == {
        "queue": 1,
        "upstream": 1,
        "busbar": 1,
    }
    timing = answer.json["timing_ms"]
    assert grown("upstream", "sum") == pytest.approx(timing["upstream"] / 1000, abs=1e-5)
    ours = timing["total"] - timing["upstream"] - timing["queue"]
    assert grown("busbar", "sum") == pytest.approx(ours / 1000, abs=1e-5)


async def test_a_bucket_leads_to_a_trace_that_somebody_keeps(running: Fleet, urls: Urls) -> None:
    for traceparent in (UNSAMPLED, SAMPLED):
        await running.ask_http(record("ledger"), headers={"traceparent": traceparent})
    text = await scrape(urls["orchestrator"], OPENMETRICS)
    assert SAMPLED[3:35] in text
    assert UNSAMPLED[3:35] not in text
    assert "trace_id" not in await scrape(urls["orchestrator"])
    exemplars = {
        sample.exemplar.labels["trace_id"]
        for family in openmetrics_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar
    }
    assert exemplars == {SAMPLED[3:35]}


_texts = st.text(max_size=80).map(lambda text: f"{MARK}{text}") | st.sampled_from(
    [f'{MARK}"}} 1\nevil_metric{{a="b"}} 1', f"{MARK}\\", f"ledger\n{MARK}", f"LEDGER{MARK}", MARK * 30]
)
_headers = st.dictionaries(
    st.sampled_from(
        ["traceparent", "tracestate", "authorization", "idempotency-key", "user-agent", "x-forwarded-for", "accept"]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60).map(lambda text: MARK + text),
)
_valid_names = st.from_regex(rf"{MARK}[A-Za-z0-9-]{{0,40}}", fullmatch=True)
_well_formed = st.fixed_dictionaries(
    {"server": _valid_names | st.sampled_from(["ledger", "away"]), "timeout_ms": st.just(50)}
).flatmap(
    lambda query: st.sampled_from(["tool", "resource", "prompt"]).flatmap(
        lambda kind: _texts.map(lambda name: {**query, kind: name})
    )
)
"""Nothing is wrong with them but that nobody has what they ask for: they come as far as any."""

_malformed = st.fixed_dictionaries(
    {},
    optional={
        "server": _texts,
        "tool": _texts | st.just("record"),
        "version": _texts,
        "cache": _texts,
        "arguments": st.dictionaries(_texts, _texts, max_size=3),
        "timeout_ms": st.integers(1, 50) | _texts,
    },
)
_queries = _well_formed | _malformed | st.binary(max_size=60)


async def test_no_caller_adds_a_series_or_a_word_to_the_metrics(running: Fleet, urls: Urls) -> None:
    await running.ask_http(record("ledger"))
    before = {service: set(series(await scrape(urls[service]))) for service in SERVICES}

    def attack() -> None:
        with httpx.Client(base_url=running.urls[0], timeout=10, trust_env=False) as client:

            @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
            @given(query=_queries, headers=_headers)
            def ask(query: dict[str, Any] | bytes, headers: dict[str, str]) -> None:
                if isinstance(query, bytes):
                    client.post("/v1/query", content=query, headers={"content-type": "application/json", **headers})
                else:
                    client.post("/v1/query", json=query, headers=headers)
                client.get(f"/{MARK}", headers=headers)

            ask()

    await anyio.to_thread.run_sync(attack)
    for service in SERVICES:
        assert set(series(await scrape(urls[service]))) == before[service]
        assert MARK not in await scrape(urls[service], OPENMETRICS)


async def test_a_bus_that_went_away_and_came_back_is_counted(tmp_path: Path) -> None:
    async with nats_server() as bus, fleet({"ledger": ledger_server(tmp_path / "ledger")}, bus=bus) as running:
        await bus.kill()
        with anyio.fail_after(10):
            while value(await scrape(running.urls[0]), "mcp_bus_connected") == 1:
                await anyio.sleep(0.02)
        await bus.start()
        with anyio.fail_after(20):
            while value(await scrape(running.urls[0]), "mcp_bus_connected") == 0:
                await anyio.sleep(0.02)
        assert value(await scrape(running.urls[0]), "mcp_bus_reconnects_total") == 2  # one for each connection
