"""The customer's metrics: exact names and labels, and no label that takes a caller's text."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from bus_schemas.errors import OF_ADMIN, ErrorCode
from services.orchestrator.cache.metrics import CacheMetrics
from services.orchestrator.dispatch import Outcome
from services.orchestrator.metrics import QueryMetrics
from services.runtime.metrics import expose, new_registry

_NAMES = {
    "mcp_query_duration_seconds": ("histogram", {"server"}),
    "mcp_query_errors": ("counter", {"server", "error_type"}),
    "mcp_cache_hits": ("counter", set[str]()),
    "mcp_cache_misses": ("counter", set[str]()),
    "mcp_servers_connected_total": ("gauge", set[str]()),
    "mcp_orchestrator_uptime_seconds": ("gauge", set[str]()),
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return new_registry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> QueryMetrics:
    CacheMetrics(registry)
    return QueryMetrics(registry, ["known"], connected=lambda: 3)


def _text(registry: CollectorRegistry) -> str:
    return expose(registry, "text/plain")[0].decode()


def _errors(registry: CollectorRegistry, server: str, error_type: str) -> float | None:
    return registry.get_sample_value("mcp_query_errors_total", {"server": server, "error_type": error_type})


def _count(registry: CollectorRegistry, server: str) -> float | None:
    return registry.get_sample_value("mcp_query_duration_seconds_count", {"server": server})


@pytest.mark.usefixtures("metrics")
def test_names_types_and_labels_are_the_customers(registry: CollectorRegistry) -> None:
    families = {family.name: family for family in text_string_to_metric_families(_text(registry))}
    families = {name: family for name, family in families.items() if name.startswith("mcp_")}
    assert set(families) >= set(_NAMES)
    for name, (kind, labels) in _NAMES.items():
        assert families[name].type == kind
        used = {label for sample in families[name].samples for label in sample.labels} - {"le"}
        assert used == labels
    lines = _text(registry).splitlines()
    for sample in ("mcp_cache_hits_total 0.0", "mcp_cache_misses_total 0.0", "mcp_servers_connected_total 3.0"):
        assert sample in lines


@pytest.mark.usefixtures("metrics")
def test_buckets_reach_from_a_millisecond_to_three_hundred_seconds(registry: CollectorRegistry) -> None:
    for bound in ("0.001", "300.0"):
        labels = {"server": "known", "le": bound}
        assert registry.get_sample_value("mcp_query_duration_seconds_bucket", labels) == 0


@pytest.mark.usefixtures("metrics")
def test_every_error_of_a_known_server_is_there_before_it_happens(registry: CollectorRegistry) -> None:
    for server in ("known", "unknown"):
        assert _count(registry, server) == 0
        for error_type in [*(code.value for code in set(ErrorCode) - OF_ADMIN), "tool_error", "cancelled"]:
            assert _errors(registry, server, error_type) == 0


def test_a_failed_query_counts_in_both_and_a_good_one_in_the_duration_alone(
    registry: CollectorRegistry, metrics: QueryMetrics
) -> None:
    metrics.count("known", 0.2, None)
    metrics.count("known", 0.3, "timeout")
    assert _count(registry, "known") == 2
    assert registry.get_sample_value("mcp_query_duration_seconds_sum", {"server": "known"}) == pytest.approx(0.5)
    assert _errors(registry, "known", "timeout") == 1


@pytest.mark.parametrize(
    "name", [None, "", "nobody", 'x"} 1\nevil_metric 1', "known\n", "KNOWN", "a" * 64, "unknown", "ж"]
)
def test_what_a_caller_calls_a_server_never_becomes_a_label(
    registry: CollectorRegistry, metrics: QueryMetrics, name: str | None
) -> None:
    before = {line.partition(" ")[0] for line in _text(registry).splitlines()}
    metrics.count(name, 0.1, "server_not_found")
    assert _count(registry, "unknown") == 1
    assert _errors(registry, "unknown", "server_not_found") == 1
    after = {line.partition(" ")[0] for line in _text(registry).splitlines()}
    assert after == before


def test_a_server_that_became_known_has_its_own_label(registry: CollectorRegistry, metrics: QueryMetrics) -> None:
    metrics.know("newcomer")
    assert _errors(registry, "newcomer", "timeout") == 0
    metrics.count("newcomer", 0.1, "timeout")
    metrics.know("newcomer")
    assert _errors(registry, "newcomer", "timeout") == 1


def test_the_time_of_a_query_is_told_by_where_it_went(registry: CollectorRegistry, metrics: QueryMetrics) -> None:
    metrics.hops(Outcome(b"{}", "i1", upstream_us=200_000, queue_us=50_000), 0.3)
    metrics.hops(Outcome(b"{}", "i1", upstream_us=0, queue_us=0), 0.01)  # it was there already

    def of_hops(what: str) -> list[float | None]:
        hops = ("queue", "upstream", "busbar")
        return [registry.get_sample_value(f"mcp_query_hop_seconds_{what}", {"hop": hop}) for hop in hops]

    assert of_hops("count") == [1, 1, 2]
    assert of_hops("sum") == pytest.approx([0.05, 0.2, 0.06])


def test_a_clock_that_differs_makes_no_time_negative(registry: CollectorRegistry, metrics: QueryMetrics) -> None:
    metrics.hops(Outcome(b"{}", "i1", upstream_us=200_000, queue_us=0), 0.1)
    assert registry.get_sample_value("mcp_query_hop_seconds_sum", {"hop": "busbar"}) == 0
