"""A `busbar up` under load, with a fault of every kind that a dashboard shows, as a real Prometheus saw it."""

import json
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import psutil

from monitoring.grafana.build import DASHBOARDS
from monitoring.grafana.panels import Dashboard
from tests.monitoring.prometheus import Prometheus, Series, prometheus
from tests.support.ports import free_port
from tests.support.processes import REPOSITORY, RunningProcess, running
from tests.support.system import System, system

RATE_INTERVAL: Final = "10s"
"""What Grafana would put for $__rate_interval: several scrapes."""

CALM, FRAGILE, LOST = "calm", "fragile", "lost"
"""The servers: one that always answers, one whose calls hang for a moment, and one that is killed."""

_PACE_S: Final = 0.03
_WAIT_S: Final = 30.0
_ALERT_S: Final = 60.0
_CALLS_THAT_OPEN_A_BREAKER: Final = 6


@dataclass(slots=True)
class Watched:
    """What was seen, moments in seconds since 1970."""

    began_at: float = 0.0
    killed_at: float = 0.0
    fired_at: float = 0.0
    restarted_at: float = 0.0
    resolved_at: float = 0.0
    ended_at: float = 0.0
    targets: list[dict[str, Any]] = field(default_factory=list)
    are_targets_removed: bool = False
    metrics: dict[str, str] = field(default_factory=dict)
    """The /metrics of each process by its name, Prometheus's own too."""
    panels: dict[tuple[str, str, str], list[list[Series]]] = field(default_factory=dict)
    """By dashboard, the server chosen on it (or none), and title: the series of each query of the panel."""
    exemplars: list[dict[str, Any]] = field(default_factory=list)


def chosen(dashboard: Dashboard) -> tuple[str, ...]:
    """Return the servers that are looked at on a page of one server; of another page the only one, which is none."""
    return (FRAGILE, LOST) if dashboard.variables else ("",)


async def watch(folder: Path, quiet_s: float = 0.0) -> Watched:
    """Run it all, which takes a bit more than a minute; everything that was started has ended afterwards.

    Args:
        folder: for everything that is written.
        quiet_s: how long to look on before the first fault, and after the last.
    """
    seen = Watched()
    state = folder / "state"
    port = free_port()
    async with _server(folder, port) as first:
        async with system(_servers(folder, port), folder) as one:
            targets = state / "prometheus-targets.json"
            seen.targets = json.loads(targets.read_text())
            async with prometheus(folder, targets) as eyes, _load(state):
                await _until(eyes, f'count(up{{job="busbar"}} == 1) == {len(seen.targets)}')
                await _until(eyes, "busbar:mcp_queries:rate1m > 1")
                seen.began_at = time.time()
                await anyio.sleep(quiet_s)
                await _disturb_carriers(one, eyes)
                await _open_a_breaker(one, eyes)
                await _lose_a_server(first, eyes, seen)
                async with _server(folder, port):
                    await _find_it_again(eyes, seen)
                    await anyio.sleep(quiet_s)
                    seen.ended_at = time.time()
                    await _look(eyes, seen)
            one.process.signal(signal.SIGTERM)
            await one.process.wait(timeout_s=_WAIT_S)
            seen.are_targets_removed = not targets.exists()
    return seen


def _servers(folder: Path, port: int) -> dict[str, Any]:
    here = {"command": _ledger(folder), "cwd": str(REPOSITORY)}
    cached = {"cache_ttl_s": 5, "cache_scope": "public", "idempotent": True}
    return {
        CALM: {**here, "tools": {"record_idempotent": cached}},
        FRAGILE: {**here, "timeout_s": 2},
        LOST: {"url": f"http://127.0.0.1:{port}/mcp"},
    }


def _ledger(folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.support.ledger_server", "--ledger", str(folder / "ledger")]


@asynccontextmanager
async def _server(folder: Path, port: int) -> AsyncIterator[RunningProcess]:
    """Run the server that is to be lost; it is ready when it has said its URL."""
    async with running([*_ledger(folder), f"--port={port}"]) as process:
        with anyio.fail_after(_WAIT_S):
            while not process.stdout():
                await anyio.sleep(0.02)
        yield process


@asynccontextmanager
async def _load(state: Path) -> AsyncIterator[None]:
    """Ask everybody, thirty times a second, until the context closes."""
    found = json.loads((state / "state.json").read_text())
    headers = {"authorization": f"Bearer {found['keys']['query']}"}
    async with (
        httpx.AsyncClient(base_url=found["orchestrators"][0], headers=headers, timeout=10, trust_env=False) as client,
        anyio.create_task_group() as asking,
    ):
        asking.start_soon(_ask_for_ever, client)
        yield
        asking.cancel_scope.cancel()


async def _ask_for_ever(client: httpx.AsyncClient) -> None:
    for number in count():
        server, tool, arguments = _query(number)
        query = {"server": server, "tool": tool, "arguments": arguments, "timeout_ms": 5000}
        trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        await client.post("/v1/query", json=query, headers={"traceparent": trace})
        await anyio.sleep(_PACE_S)


def _query(number: int) -> tuple[str, str, dict[str, Any]]:
    """Return server, tool and arguments: what may be cached, what may not, a tool's own error, and the two others."""
    match number % 6:
        case 0 | 1:
            return CALM, "record_idempotent", {"id": f"again-{number % 5}"}
        case 2:
            return CALM, "record", {"id": f"calm-{number}", "ms": number % 40}
        case 3:
            return CALM, "record", {"id": f"error-{number}", "fail": "error"}
        case 4:
            return FRAGILE, "record", {"id": f"fragile-{number}"}
        case _:
            return LOST, "record", {"id": f"lost-{number}"}


async def _disturb_carriers(one: System, eyes: Prometheus) -> None:
    """Freeze the store and kill NATS, each until Prometheus has seen it; of a state two samples, to be on a graph."""
    store = psutil.Process(one.pids["redis"])
    store.suspend()
    try:
        await _until(eyes, "sum_over_time((1 - mcp_cache_store_up)[5s:1s]) >= 2")
    finally:
        store.resume()
    await _until(eyes, "min(mcp_cache_store_up) == 1")
    psutil.Process(one.pids["nats"]).kill()
    await _until(eyes, "min(mcp_bus_reconnects_total) > 0 and min(mcp_bus_connected) == 1")
    await _until(eyes, "min(mcp_server_connected) == 1")


async def _open_a_breaker(one: System, eyes: Prometheus) -> None:
    """Let calls of one server hang until its breaker opens; one that succeeds in between makes it count anew."""

    async def hang(number: int) -> None:
        await one.ask(FRAGILE, "record", {"id": f"hanging-{number}", "fail": "hang"})

    with anyio.fail_after(_WAIT_S):
        while not await eyes.holds(f'mcp_circuit_breaker_state{{server="{FRAGILE}"}} == 1'):
            async with anyio.create_task_group() as calls:
                for number in range(_CALLS_THAT_OPEN_A_BREAKER):
                    calls.start_soon(hang, number)
            await anyio.sleep(1)  # until it has been scraped


async def _lose_a_server(process: RunningProcess, eyes: Prometheus, seen: Watched) -> None:
    await process.kill()
    seen.killed_at = time.time()
    await _until(eyes, _firing(LOST), timeout_s=_ALERT_S)
    seen.fired_at = time.time()


async def _find_it_again(eyes: Prometheus, seen: Watched) -> None:
    seen.restarted_at = time.time()
    await _until(eyes, f"absent({_firing(LOST)})", timeout_s=_ALERT_S)
    seen.resolved_at = time.time()
    await _until(eyes, f'mcp_circuit_breaker_state{{server="{FRAGILE}"}} == 0', timeout_s=_ALERT_S)


def _firing(server: str) -> str:
    return f'ALERTS{{alertname="ServerDown", alertstate="firing", server="{server}"}}'


async def _look(eyes: Prometheus, seen: Watched) -> None:
    """Ask for everything that the tests want to know."""
    for dashboard in DASHBOARDS:
        for server in chosen(dashboard):
            for panel in dashboard.panels:
                seen.panels[dashboard.uid, server, panel.title] = [
                    await eyes.over(_filled_in(query.expr, server), seen.began_at, seen.ended_at)
                    for query in panel.queries
                ]
    seen.exemplars = await eyes.exemplars("mcp_query_duration_seconds_bucket", seen.began_at, seen.ended_at)
    seen.metrics["prometheus"] = await eyes.own_metrics()
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        for group in seen.targets:
            response = await client.get(f"http://{group['targets'][0]}/metrics")
            seen.metrics[group["labels"]["instance"]] = response.raise_for_status().text


def _filled_in(expression: str, server: str) -> str:
    """Return the query as Grafana would send it."""
    return expression.replace("$__rate_interval", RATE_INTERVAL).replace("$server", server)


async def _until(eyes: Prometheus, expression: str, *, timeout_s: float = _WAIT_S) -> None:
    """Return when the expression has a result.

    Raises:
        TimeoutError: it had none for `timeout_s` seconds; the note says which.
    """
    try:
        with anyio.fail_after(timeout_s):
            while not await eyes.holds(expression):
                await anyio.sleep(0.2)
    except TimeoutError as error:
        error.add_note(f"never seen: {expression}")
        raise
