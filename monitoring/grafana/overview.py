"""How all queries do: rate, errors, duration."""

from typing import Final

from monitoring.grafana.panels import Dashboard, Panel, Query, Row

_BUDGET: Final = 0.001
_GOOD: Final = "1 - sum_over_time(busbar:mcp_queries_5xx:rate1m[30d]) / sum_over_time(busbar:mcp_queries:rate1m[30d])"
_BUCKETS: Final = "sum by (le) (rate(mcp_query_duration_seconds_bucket[$__rate_interval]))"

OVERVIEW: Final = Dashboard(
    uid="busbar-overview",
    title="Busbar: overview",
    explanation="Rate, errors and duration of all queries. Good is what was answered and is no 5xx.",
    rows=(
        Row(
            "Now",
            (
                Panel(
                    "Availability, 30 days",
                    (Query(_GOOD),),
                    unit="percentunit",
                    kind="stat",
                    width=4,
                    red_below=1 - _BUDGET,
                    explanation="99.9 % is promised.",
                ),
                Panel(
                    "Error budget left",
                    (Query(f"1 - (1 - ({_GOOD})) / {_BUDGET}"),),
                    unit="percentunit",
                    kind="stat",
                    width=4,
                    red_below=0,
                    explanation="Of what 30 days may lose; below zero the promise is broken.",
                ),
                Panel("Queries", (Query("busbar:mcp_queries:rate1m"),), unit="reqps", kind="stat", width=4),
                Panel(
                    "Failed, 5 minutes",
                    (Query("busbar:mcp_queries_5xx:ratio_5m"),),
                    unit="percentunit",
                    kind="stat",
                    width=4,
                    red_above=_BUDGET,
                ),
                Panel(
                    "Servers connected",
                    (Query("min(mcp_servers_connected_total)"),),
                    kind="stat",
                    width=4,
                    explanation="As the orchestrator sees it that sees the fewest.",
                ),
                Panel(
                    "Alerts",
                    (Query('count(ALERTS{alertstate="firing", severity!="none"}) or vector(0)'),),
                    kind="stat",
                    width=4,
                    red_above=1,
                ),
            ),
        ),
        Row(
            "Rate",
            (
                Panel(
                    "Queries by server",
                    (
                        Query(
                            "sum by (server) (rate(mcp_query_duration_seconds_count[$__rate_interval]))", "{{server}}"
                        ),
                    ),
                    unit="reqps",
                ),
                Panel(
                    "Queries in flight",
                    (Query("sum by (instance) (mcp_queries_in_flight)", "{{instance}}"),),
                    explanation="That each orchestrator works on.",
                ),
            ),
        ),
        Row(
            "Errors",
            (
                Panel(
                    "Failed queries by server",
                    (Query("server:mcp_queries_5xx:rate1m", "{{server}}"),),
                    unit="reqps",
                    width=8,
                    explanation="Told a 5xx.",
                ),
                Panel(
                    "Errors by type",
                    (
                        Query(
                            "sum by (error_type) (rate(mcp_query_errors_total[$__rate_interval])) > 0",
                            "{{error_type}}",
                        ),
                    ),
                    unit="reqps",
                    width=8,
                    explanation="Also what is the caller's doing, and tools' own errors.",
                ),
                Panel(
                    "Share that failed",
                    tuple(
                        Query(f"busbar:mcp_queries_5xx:ratio_{window}", window) for window in ("5m", "1h", "6h", "3d")
                    ),
                    unit="percentunit",
                    width=8,
                    red_above=14.4 * _BUDGET,
                    explanation="Above the line in both 5 minutes and an hour somebody is paged.",
                ),
            ),
        ),
        Row(
            "Duration",
            (
                Panel(
                    "How long queries take",
                    tuple(
                        Query(f"histogram_quantile({share}, {_BUCKETS})", legend, has_exemplars=True)
                        for share, legend in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
                    ),
                    unit="s",
                    width=8,
                    explanation="Failures included. The points lead to traces.",
                ),
                Panel(
                    "95 % by server",
                    (
                        Query(
                            "histogram_quantile(0.95, "
                            "sum by (server, le) (rate(mcp_query_duration_seconds_bucket[$__rate_interval])))",
                            "{{server}}",
                            has_exemplars=True,
                        ),
                    ),
                    unit="s",
                    width=8,
                    red_above=2,
                ),
                Panel(
                    "Where the time goes",
                    (
                        Query(
                            "sum by (hop) (rate(mcp_query_hop_seconds_sum[$__rate_interval]))"
                            " / sum by (hop) (rate(mcp_query_hop_seconds_count[$__rate_interval]))",
                            "{{hop}}",
                        ),
                    ),
                    unit="s",
                    width=8,
                    explanation="Of an answered query on average: waiting for a slot, at the MCP server, and all else.",
                ),
            ),
        ),
        Row(
            "MCP clients",
            (
                Panel(
                    "Requests",
                    (
                        Query(
                            "sum by (era, method) (rate(mcp_client_requests_total[$__rate_interval]))",
                            "{{method}} ({{era}})",
                        ),
                    ),
                    unit="reqps",
                    explanation="At /mcp and /servers/<server>/mcp; calls count as queries, too.",
                ),
                Panel(
                    "Streams",
                    (Query("mcp_client_streams", "{{instance}}"),),
                    explanation="On which clients listen to changes of the lists.",
                ),
            ),
        ),
    ),
)
