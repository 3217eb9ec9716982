"""What everybody shares: the cache and its store, and the bus; and what Prometheus takes."""

from typing import Final

from monitoring.grafana.panels import Dashboard, Panel, Query, Row
from monitoring.grafana.states import UP

CACHE_AND_BUS: Final = Dashboard(
    uid="busbar-cache-bus",
    title="Busbar: cache and bus",
    explanation="How much the cache spares the servers, how the bus does, and what Prometheus itself takes.",
    rows=(
        Row(
            "Cache",
            (
                Panel(
                    "Answers from the cache",
                    (
                        Query("busbar:mcp_cache_hits:ratio_30m", "30 minutes"),
                        Query("busbar:mcp_cache_hits:ratio_6h", "6 hours"),
                    ),
                    unit="percentunit",
                    width=8,
                    explanation="Of the answers that the cache may give.",
                ),
                Panel(
                    "Hits and misses",
                    (
                        Query("sum(rate(mcp_cache_hits_total[$__rate_interval]))", "hits"),
                        Query("sum(rate(mcp_cache_misses_total[$__rate_interval]))", "misses"),
                    ),
                    unit="reqps",
                    width=8,
                ),
                Panel(
                    "Store",
                    (Query("mcp_cache_store_up", "{{instance}}"),),
                    kind="state-timeline",
                    states=UP,
                    width=8,
                    explanation="Whether Redis or Valkey answers each orchestrator.",
                ),
                Panel(
                    "Answers in memory",
                    (Query("mcp_cache_memory_bytes", "{{instance}}"),),
                    unit="bytes",
                    width=8,
                ),
                Panel(
                    "How long the store takes",
                    tuple(
                        Query(
                            f"histogram_quantile({share}, "
                            "sum by (le) (rate(mcp_cache_lookup_seconds_bucket[$__rate_interval])))",
                            legend,
                        )
                        for share, legend in ((0.5, "half"), (0.99, "99 %"))
                    ),
                    unit="s",
                    width=8,
                    red_above=0.1,
                    explanation="To a look-up, failures included; it is given up after a tenth of a second.",
                ),
                Panel(
                    "Bodies and answers held",
                    (Query("mcp_held_bytes", "{{instance}}"),),
                    unit="bytes",
                    width=8,
                    explanation="What callers have sent and not yet been told, or not yet taken.",
                ),
            ),
        ),
        Row(
            "Bus",
            (
                Panel(
                    "Connected",
                    (Query("mcp_bus_connected", "{{instance}}"),),
                    kind="state-timeline",
                    states=UP,
                    width=8,
                ),
                Panel(
                    "Reconnects in 15 minutes",
                    (Query("increase(mcp_bus_reconnects_total[15m])", "{{instance}}"),),
                    width=8,
                    red_above=6.5,
                ),
                Panel(
                    "Delay of calls",
                    (Query("mcp_worker_call_delay_seconds", "{{instance}}"),),
                    unit="s",
                    width=8,
                    explanation="How much longer than usual a call was on the bus, at worst.",
                ),
                Panel(
                    "Clocks apart",
                    (Query("mcp_worker_clock_offset_seconds", "{{instance}}"),),
                    unit="s",
                    width=8,
                    red_above=30,
                    explanation="Deadlines hold up to half a minute.",
                ),
                Panel(
                    "Results that are not delivered",
                    (Query("mcp_worker_undelivered_bytes", "{{instance}}"),),
                    unit="bytes",
                    width=8,
                ),
                Panel(
                    "Calls sent again",
                    (
                        Query("sum by (reason) (rate(mcp_retries_total[$__rate_interval]))", "after {{reason}}"),
                        Query(
                            "sum(rate(mcp_retry_budget_exhausted_total[$__rate_interval]))", "not sent: too many others"
                        ),
                    ),
                    unit="reqps",
                    width=8,
                ),
            ),
        ),
        Row(
            "Prometheus",
            (
                Panel(
                    "Disk for 30 days",
                    (
                        Query("prometheus:tsdb_forecast:bytes_30d", "needed"),
                        Query("prometheus:tsdb_budget:bytes", "there"),
                    ),
                    unit="bytes",
                ),
                Panel(
                    "Series",
                    (Query("sum(prometheus_tsdb_head_series)", "in memory"),),
                ),
            ),
        ),
    ),
)
