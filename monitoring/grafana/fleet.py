"""Who is there: servers and their versions, workers, processes."""

from typing import Final

from monitoring.grafana.panels import Dashboard, Panel, Query, Row
from monitoring.grafana.states import BREAKER, CONNECTED

_CALLS: Final = "sum by (server, version) (rate(mcp_worker_calls_total[$__rate_interval]))"
_VERSION: Final = "{{server}} {{version}}"

FLEET: Final = Dashboard(
    uid="busbar-fleet",
    title="Busbar: fleet and rollouts",
    explanation="Servers, versions, workers and processes: who is there, who is busy, who was started again.",
    rows=(
        Row(
            "Servers",
            (
                Panel(
                    "Connected",
                    (Query("max by (server) (mcp_server_connected)", "{{server}}"),),
                    kind="state-timeline",
                    states=CONNECTED,
                ),
                Panel(
                    "Breakers",
                    (Query("max by (server, version) (mcp_circuit_breaker_state)", "{{server}} {{version}}"),),
                    kind="state-timeline",
                    states=BREAKER,
                    explanation="The worst of all orchestrators. A rollout shows as a second version of a server.",
                ),
                Panel(
                    "Share that is down",
                    (Query("min(mcp_servers_down_ratio)", "of the servers"),),
                    unit="percentunit",
                    red_above=0.5,
                    explanation="Those in maintenance are not counted. Above the line /health/mcp says unhealthy.",
                ),
                Panel(
                    "In maintenance",
                    (Query("max by (server) (mcp_server_in_maintenance)", "{{server}}"),),
                    kind="state-timeline",
                    states={0: ("in use", "green"), 1: ("taken out", "blue")},
                ),
            ),
        ),
        Row(
            "Versions",
            (
                Panel(
                    "Share of a server's calls",
                    (Query(f"{_CALLS} / on (server) group_left () sum by (server) ({_CALLS})", _VERSION),),
                    unit="percentunit",
                    width=8,
                    explanation="During a rollout it moves from one version to the other in steps.",
                ),
                Panel(
                    "Share of calls that failed",
                    (
                        Query(
                            "1 - sum by (server, version) "
                            '(rate(mcp_worker_calls_total{outcome="ok"}[$__rate_interval])) / ' + _CALLS,
                            _VERSION,
                        ),
                    ),
                    unit="percentunit",
                    width=8,
                    explanation="Compare the new version with the old one.",
                ),
                Panel(
                    "How long the server takes",
                    (
                        Query(
                            "histogram_quantile(0.95, sum by (server, version, le) "
                            "(rate(mcp_worker_upstream_seconds_bucket[$__rate_interval])))",
                            _VERSION,
                        ),
                    ),
                    unit="s",
                    width=8,
                    explanation="95 % of the calls take less.",
                ),
            ),
        ),
        Row(
            "Workers",
            (
                Panel(
                    "Workers by state",
                    (Query("sum by (state) (mcp_worker_state)", "{{state}}"),),
                    width=6,
                    explanation="Those that drain finish what they have and leave.",
                ),
                Panel(
                    "Calls that run",
                    (Query("mcp_worker_slots_in_use", "{{instance}}"),),
                    width=6,
                ),
                Panel(
                    "Share of slots in use",
                    (Query("mcp_worker_slots_in_use / mcp_worker_slots", "{{instance}}"),),
                    unit="percentunit",
                    width=6,
                    red_above=0.9,
                ),
                Panel(
                    "Wait for a slot",
                    (
                        Query(
                            "histogram_quantile(0.95, sum by (server, version, le) "
                            "(rate(mcp_worker_queue_seconds_bucket[$__rate_interval])))",
                            _VERSION,
                        ),
                    ),
                    unit="s",
                    width=6,
                    explanation="95 % of the calls wait less. If it grows there are too few workers or slots.",
                ),
            ),
        ),
        Row(
            "Processes",
            (
                Panel(
                    "Answering Prometheus",
                    (Query('sum by (service) (up{job="busbar"})', "{{service}}"),),
                    width=8,
                    explanation="Processes of each service.",
                ),
                Panel(
                    "Starts in 15 minutes",
                    (Query('changes(process_start_time_seconds{job="busbar"}[15m])', "{{instance}}"),),
                    width=8,
                    red_above=2,
                ),
                Panel(
                    "Uptime of orchestrators",
                    (Query("mcp_orchestrator_uptime_seconds", "{{instance}}"),),
                    unit="s",
                    width=8,
                ),
                Panel(
                    "CPU",
                    (Query('rate(process_cpu_seconds_total{job="busbar"}[$__rate_interval])', "{{instance}}"),),
                    unit="percentunit",
                    width=8,
                    red_above=0.9,
                    explanation="Of one core; a process has no use for more.",
                ),
                Panel(
                    "Memory",
                    (Query('process_resident_memory_bytes{job="busbar"}', "{{instance}}"),),
                    unit="bytes",
                    width=8,
                ),
                Panel(
                    "Open files",
                    (Query('process_open_fds{job="busbar"} / process_max_fds', "{{instance}}"),),
                    unit="percentunit",
                    width=8,
                    red_above=0.8,
                    explanation="Connections among them; of as many as the system allows.",
                ),
                Panel(
                    "Delay of the event loop",
                    (Query("busbar_event_loop_lag_seconds", "{{instance}}"),),
                    unit="s",
                    width=8,
                    red_above=0.25,
                    explanation="How late a process came to its work at worst: what keeps it busy keeps all waiting.",
                ),
                Panel(
                    "Releases",
                    (Query("count by (version) (busbar_build_info)", "{{version}}"),),
                    width=8,
                    explanation="Processes by the release of Busbar that they run.",
                ),
            ),
        ),
    ),
)
