"""How one server does, chosen at the head of the page."""

from typing import Final

from monitoring.grafana.panels import Dashboard, Panel, Query, Row, Variable
from monitoring.grafana.states import BREAKER, CONNECTED, UP

_OF_IT: Final = 'server="$server"'
_BUCKETS: Final = f"sum by (le) (rate(mcp_query_duration_seconds_bucket{{{_OF_IT}}}[$__rate_interval]))"

ONE_SERVER: Final = Dashboard(
    uid="busbar-server",
    title="Busbar: one server",
    explanation="What its callers see, how its breakers stand, and how busy its workers are.",
    variables=(Variable("server", "Server", "mcp_query_duration_seconds_count"),),
    rows=(
        Row(
            "Whether it is there",
            (
                Panel(
                    "Connected",
                    (Query(f"max(mcp_server_connected{{{_OF_IT}}})", "$server"),),
                    kind="state-timeline",
                    states=CONNECTED,
                    explanation="Whether a live worker has a working session with it.",
                ),
                Panel(
                    "Breakers by version",
                    (Query(f"max by (version) (mcp_circuit_breaker_state{{{_OF_IT}}})", "{{version}}"),),
                    kind="state-timeline",
                    states=BREAKER,
                    explanation="The worst of all orchestrators.",
                ),
            ),
        ),
        Row(
            "Queries",
            (
                Panel(
                    "Rate",
                    (
                        Query(
                            f"sum(rate(mcp_query_duration_seconds_count{{{_OF_IT}}}[$__rate_interval]))",
                            "queries",
                        ),
                        Query(f"server:mcp_queries_5xx:rate1m{{{_OF_IT}}}", "told a 5xx"),
                    ),
                    unit="reqps",
                    width=8,
                ),
                Panel(
                    "Errors by type",
                    (
                        Query(
                            f"sum by (error_type) (rate(mcp_query_errors_total{{{_OF_IT}}}[$__rate_interval])) > 0",
                            "{{error_type}}",
                        ),
                    ),
                    unit="reqps",
                    width=8,
                ),
                Panel(
                    "How long they take",
                    tuple(
                        Query(f"histogram_quantile({share}, {_BUCKETS})", legend, has_exemplars=True)
                        for share, legend in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
                    ),
                    unit="s",
                    width=8,
                    red_above=2,
                    explanation="Failures included. The points lead to traces.",
                ),
            ),
        ),
        Row(
            "Calls",
            (
                Panel(
                    "Waiting for its answer",
                    (Query(f"sum by (instance) (mcp_server_queries_in_flight{{{_OF_IT}}})", "{{instance}}"),),
                    width=8,
                    explanation="By orchestrator.",
                ),
                Panel(
                    "Held back by breakers",
                    (
                        Query(
                            f"sum by (version) (rate(mcp_circuit_breaker_refused_total{{{_OF_IT}}}[$__rate_interval]))",
                            "{{version}}",
                        ),
                    ),
                    unit="reqps",
                    width=8,
                ),
                Panel(
                    "Changes of breakers",
                    (
                        Query(
                            "sum by (version, state) "
                            f"(increase(mcp_circuit_breaker_transitions_total{{{_OF_IT}}}[$__rate_interval]))",
                            "{{version}} {{state}}",
                        ),
                    ),
                    width=8,
                ),
            ),
        ),
        Row(
            "Workers",
            (
                Panel(
                    "Calls by outcome",
                    (
                        Query(
                            "sum by (version, outcome) "
                            f"(rate(mcp_worker_calls_total{{{_OF_IT}}}[$__rate_interval])) > 0",
                            "{{version}} {{outcome}}",
                        ),
                    ),
                    unit="reqps",
                    width=8,
                ),
                Panel(
                    "How long the server takes",
                    (
                        Query(
                            "histogram_quantile(0.95, sum by (version, le) "
                            f"(rate(mcp_worker_upstream_seconds_bucket{{{_OF_IT}}}[$__rate_interval])))",
                            "{{version}} 95 %",
                        ),
                    ),
                    unit="s",
                    width=8,
                ),
                Panel(
                    "Calls that wait for a slot",
                    (Query(f"mcp_worker_queue_length{{{_OF_IT}}}", "{{instance}}"),),
                    width=8,
                ),
                Panel(
                    "Session",
                    (Query(f"mcp_worker_session_up{{{_OF_IT}}}", "{{instance}}"),),
                    kind="state-timeline",
                    width=8,
                    states=UP,
                    explanation="Of each worker with the server.",
                ),
                Panel(
                    "Tries to open a session, 15 minutes",
                    (Query(f"increase(mcp_worker_session_restarts_total{{{_OF_IT}}}[15m])", "{{instance}}"),),
                    width=8,
                    explanation="After the first. One now and then is a restart; many are a server that stays away.",
                ),
                Panel(
                    "Round trip of a ping",
                    (Query(f"mcp_worker_probe_latency_seconds{{{_OF_IT}}}", "{{instance}}"),),
                    unit="s",
                    width=8,
                    explanation="In the background; it is what /health/mcp tells.",
                ),
            ),
        ),
    ),
)
