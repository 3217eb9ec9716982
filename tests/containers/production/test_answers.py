"""From nothing to answered queries: what docker-compose.prod.yml brings up does what it is for."""

from typing import Any

import orjson
import pytest

from services.runtime.bus.client import HardenedClient
from tests.containers.deployment import NODES, Deployment, until

ALIAS = ("product_metadata_mcp", "resolve_product", {"alias": "abracadabra"})
INTRUDER = "intruder"
"""What test_security.py calls itself on the bus."""
METRICS = (
    "mcp_query_duration_seconds_count",
    "mcp_query_errors_total",
    "mcp_cache_hits_total",
    "mcp_cache_misses_total",
    "mcp_servers_connected_total",
    "mcp_orchestrator_uptime_seconds",
)


def test_queries_through_the_load_balancer_are_answered(production: Deployment) -> None:
    product = production.ask(*ALIAS)
    assert product.status_code == 200, product.text
    assert product.json()["result"]["structuredContent"]["name"] == "Magic Wand Pro"
    rows = production.ask("database_mcp", "query", {"sql": "SELECT count(*) AS n FROM products"})
    assert rows.status_code == 200, rows.text


@pytest.mark.anyio
@pytest.mark.parametrize("node", range(len(NODES)))
async def test_a_caller_on_the_bus_is_answered_at_every_node(production: Deployment, node: int) -> None:
    seed = (production.folder / "callers" / "bus.nk").read_text().strip()
    client = HardenedClient()
    await client.connect(production.nats_urls[node], nkeys_seed_str=seed, inbox_prefix=b"_INBOX_caller.bus")
    server, tool, arguments = ALIAS
    query = orjson.dumps({"server": server, "tool": tool, "arguments": arguments})
    reply = await client.request("mcp.v1.query", query, timeout=30)
    await client.close()
    assert reply.headers is not None
    assert reply.headers["mcp-status"] == "200"
    assert orjson.loads(reply.data)["result"]["structuredContent"]["product_id"] == 1


def test_health_says_that_all_servers_are_connected(production: Deployment) -> None:
    health = production.http("GET", "/health/mcp")
    assert health.status_code == 200
    assert health.json()["status"] == "healthy"
    assert {server["status"] for server in health.json()["mcp_servers"].values()} == {"connected"}


def test_prometheus_knows_every_process_and_has_the_required_metrics(production: Deployment) -> None:
    production.ask(*ALIAS)
    expected = {"orchestrator": 2, "health": 1, "admin": 1, "worker": 2}

    def up() -> dict[str, int]:
        found = production.prometheus('count by (service) (up{job="busbar"} == 1)')
        return {one["metric"]["service"]: int(one["value"][1]) for one in found}

    until(lambda: up() == expected, f"Prometheus sees {expected}")
    for name in METRICS:
        until(lambda name=name: production.prometheus(name), name)  # type: ignore[misc]


def test_a_flush_is_acknowledged_by_every_orchestrator_and_forgets_what_was_kept(production: Deployment) -> None:
    def cached() -> Any:
        return production.ask(*ALIAS).json()["cache"]

    cached()
    assert {cached() for _ in range(4)} == {"hit"}
    flushed = production.admin("DELETE", "/v1/cache/product_metadata_mcp")
    assert flushed.status_code == 200, flushed.text
    assert flushed.json()["missing"] == []
    assert len(flushed.json()["acknowledged_by"]) == 2
    assert cached() == "miss"


def test_the_load_balancer_speaks_problems_where_it_answers_itself(production: Deployment) -> None:
    nothing = production.http("GET", "/nothing")
    assert nothing.status_code == 404
    assert nothing.headers["content-type"] == "application/problem+json"
    assert nothing.json()["code"] == "not_found"
    assert nothing.json()["status"] == 404


def test_nobody_was_refused_what_its_work_needs(production: Deployment) -> None:
    """The permissions are wide enough: NATS writes down what it refuses."""
    refused = [line for line in production.compose("logs", "--no-color", *NODES).splitlines() if "Violation" in line]
    assert [line for line in refused if INTRUDER not in line] == []
