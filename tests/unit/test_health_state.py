"""Which status follows from what is known."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.health.state import CacheStats, Connected, Disconnected, Status, WorkerFinding, report_health

NOW = 1_705_744_800.0  # 2024-01-20T10:00:00Z
SERVING = WorkerFinding(is_serving=True, latency_ms=45.4, checked_at=NOW - 1, fault=None)
TIMED_OUT = WorkerFinding(is_serving=False, latency_ms=None, checked_at=NOW, fault="Connection timeout")


def test_the_report_has_exactly_the_fields_of_the_contract() -> None:
    report = report_health(
        ["database_mcp", "product_metadata_mcp"],
        {"database_mcp": [SERVING], "product_metadata_mcp": [TIMED_OUT]},
        cache=CacheStats(hit_rate=0.75, entries=150),
        is_bus_up=True,
        now=NOW,
    )

    assert json.loads(report.model_dump_json()) == {
        "status": "degraded",
        "mcp_servers": {
            "database_mcp": {"status": "connected", "latency_ms": 45, "last_check": "2024-01-20T09:59:59Z"},
            "product_metadata_mcp": {
                "status": "disconnected",
                "error": "Connection timeout",
                "last_check": "2024-01-20T10:00:00Z",
            },
        },
        "cache_stats": {"hit_rate": 0.75, "entries": 150},
    }


@pytest.mark.parametrize(
    ("servers", "down", "status"),
    [
        (0, 0, Status.HEALTHY),
        (2, 0, Status.HEALTHY),
        (2, 1, Status.DEGRADED),
        (4, 2, Status.DEGRADED),
        (4, 3, Status.UNHEALTHY),
        (3, 2, Status.UNHEALTHY),
        (1, 1, Status.UNHEALTHY),
    ],
)
def test_more_than_half_of_the_servers_down_is_unhealthy(servers: int, down: int, status: Status) -> None:
    names = [f"server{number}" for number in range(servers)]
    findings = {name: [TIMED_OUT if number < down else SERVING] for number, name in enumerate(names)}

    assert report_health(names, findings, is_bus_up=True, now=NOW).status is status


def test_without_the_bus_every_server_is_unreachable() -> None:
    report = report_health(["a"], {"a": [SERVING]}, is_bus_up=False, now=NOW)

    assert report.status is Status.UNHEALTHY
    assert report.mcp_servers["a"] == Disconnected(
        error="Bus unreachable", last_check=report.mcp_servers["a"].last_check
    )


def test_a_server_that_was_never_seen_has_no_live_worker() -> None:
    server = report_health(["a"], {}, is_bus_up=True, now=NOW).mcp_servers["a"]

    assert isinstance(server, Disconnected)
    assert server.error == "No live worker"


def test_one_working_worker_of_any_version_is_enough() -> None:
    server = report_health(["a"], {"a": [TIMED_OUT, SERVING]}, is_bus_up=True, now=NOW).mcp_servers["a"]

    assert isinstance(server, Connected)


@given(st.lists(st.sampled_from([SERVING, TIMED_OUT]), max_size=5), st.booleans())
def test_a_server_is_connected_exactly_if_a_worker_serves_it(findings: list[WorkerFinding], is_bus_up: bool) -> None:
    server = report_health(["a"], {"a": findings}, is_bus_up=is_bus_up, now=NOW).mcp_servers["a"]

    assert isinstance(server, Connected) == (is_bus_up and SERVING in findings)
