"""A real Prometheus watches a fleet with faults: every panel had data, and what was lost was told and found again.

The whole run takes a bit more than a minute and is made once, by the first test that looks at it.
"""

import re
from typing import Final, NamedTuple

import anyio
import pytest

from monitoring.grafana.build import DASHBOARDS
from monitoring.grafana.panels import Panel
from tests.monitoring.expressions import metric_names
from tests.monitoring.rule_files import rules
from tests.monitoring.watched import CALM, FRAGILE, LOST, Watched, chosen, watch
from tests.support.processes import REPOSITORY

_OF_PROMETHEUS: Final = frozenset({"up", "ALERTS"})
"""Made by Prometheus itself for every target and alert; in nobody's /metrics."""

PANELS: Final = [
    (dashboard.uid, server, panel)
    for dashboard in DASHBOARDS
    for server in chosen(dashboard)
    for panel in dashboard.panels
]


class Sign(NamedTuple):
    """What must be seen of a fault: on which page and panel, on which line (by the value of a label; None: any)."""

    page: str
    server: str
    panel: str
    line: str | None
    between: tuple[float, float]
    """At some time."""


SIGNS: Final = [
    Sign("busbar-overview", "", "Failed queries by server", LOST, (0.1, 1e9)),
    Sign("busbar-overview", "", "Failed queries by server", FRAGILE, (0.1, 1e9)),
    Sign("busbar-overview", "", "Failed queries by server", CALM, (0, 0)),
    Sign("busbar-overview", "", "Errors by type", "server_unavailable", (0.1, 1e9)),
    Sign("busbar-overview", "", "Errors by type", "circuit_open", (0.1, 1e9)),
    Sign("busbar-overview", "", "Errors by type", "tool_error", (0.1, 1e9)),
    Sign("busbar-overview", "", "Share that failed", None, (0.1, 1)),
    Sign("busbar-overview", "", "Servers connected", None, (0, 2)),
    Sign("busbar-overview", "", "Alerts", None, (1, 9)),
    Sign("busbar-server", LOST, "Connected", None, (0, 0)),
    Sign("busbar-server", LOST, "Connected", None, (1, 1)),
    Sign("busbar-server", LOST, "Errors by type", "server_unavailable", (0.1, 1e9)),
    Sign("busbar-server", FRAGILE, "Breakers by version", None, (1, 1)),
    Sign("busbar-server", FRAGILE, "Held back by breakers", None, (0.1, 1e9)),
    Sign("busbar-server", FRAGILE, "Changes of breakers", "open", (0.1, 1e9)),
    Sign("busbar-server", FRAGILE, "Waiting for its answer", None, (1, 1e9)),
    Sign("busbar-server", LOST, "Session", None, (0, 0)),
    Sign("busbar-server", LOST, "Tries to open a session, 15 minutes", None, (1, 1e9)),
    Sign("busbar-fleet", "", "Connected", LOST, (0, 0)),
    Sign("busbar-fleet", "", "Workers by state", "unavailable", (1, 1)),
    Sign("busbar-fleet", "", "Breakers", FRAGILE, (1, 1)),
    Sign("busbar-fleet", "", "Share that is down", None, (0.3, 1)),
    Sign("busbar-cache-bus", "", "Hits and misses", None, (0.1, 1e9)),
    Sign("busbar-cache-bus", "", "Store", "orchestrator-1", (0, 0)),
    Sign("busbar-cache-bus", "", "Reconnects in 15 minutes", "orchestrator-1", (0.5, 1e9)),
    Sign("busbar-cache-bus", "", "Reconnects in 15 minutes", "worker-calm-1", (0.5, 1e9)),
    Sign("busbar-cache-bus", "", "Reconnects in 15 minutes", "health", (0.5, 1e9)),
]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return anyio.run(watch, tmp_path_factory.mktemp("watched"))


@pytest.mark.parametrize(
    ("page", "server", "panel"), PANELS, ids=[f"{page} {server} {panel.title}" for page, server, panel in PANELS]
)
def test_every_query_of_every_panel_had_data(watched: Watched, page: str, server: str, panel: Panel) -> None:
    for number, series in enumerate(watched.panels[page, server, panel.title]):
        assert series, f"query {number} gave nothing"


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: " ".join(filter(None, sign[:4])))
def test_a_fault_shows_where_it_should(watched: Watched, sign: Sign) -> None:
    lines = [line for series in watched.panels[sign.page, sign.server, sign.panel] for line in series]
    ours = [line for line in lines if sign.line is None or sign.line in line.labels.values()]
    least, most = sign.between
    assert any(least <= value <= most for line in ours for value in line.values), ours


def test_the_alert_of_a_killed_server_fired_within_a_minute_and_resolved_after_its_recovery(watched: Watched) -> None:
    assert watched.killed_at < watched.fired_at <= watched.killed_at + 60
    assert watched.restarted_at < watched.resolved_at


def test_no_rule_and_no_panel_names_a_metric_that_nobody_has(watched: Watched) -> None:
    exposed = {name for text in watched.metrics.values() for name in _exposed(text)}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    expressions = [rule["expr"] for rule in rules()]
    expressions += [query.expr for dashboard in DASHBOARDS for panel in dashboard.panels for query in panel.queries]
    expressions += [variable.metric for dashboard in DASHBOARDS for variable in dashboard.variables]
    named = {name for expression in expressions for name in metric_names(expression)}
    assert named - exposed - recorded - _OF_PROMETHEUS == set()


def test_no_page_for_operators_names_a_metric_that_nobody_has(watched: Watched) -> None:
    exposed = {name for text in watched.metrics.values() for name in _exposed(text)}
    pages = (REPOSITORY / "docs" / page for page in ("operations.md", "failure-modes.md"))
    named = {name for page in pages for name in re.findall(r"\b(?:mcp|busbar)_[a-z_]+", page.read_text())}
    assert named
    assert named - exposed == set()


def test_every_process_was_a_target_with_its_labels_until_the_end(watched: Watched) -> None:
    labels = {group["labels"]["instance"]: group["labels"] for group in watched.targets}
    assert labels.keys() == {
        "orchestrator-1", f"worker-{CALM}-1", f"worker-{FRAGILE}-1", f"worker-{LOST}-1", "health", "admin",
    }  # fmt: skip
    assert labels[f"worker-{LOST}-1"]["mcp_server"] == LOST
    assert watched.are_targets_removed


def test_latencies_come_with_the_ids_of_traces(watched: Watched) -> None:
    assert all(re.fullmatch("[0-9a-f]{32}", exemplar["labels"]["trace_id"]) for exemplar in watched.exemplars)
    assert watched.exemplars


def _exposed(text: str) -> set[str]:
    """Return the names that samples can have: a family that has no sample yet is told by its TYPE line."""
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE):
        names |= {name, *(f"{name}{suffix}" for suffix in ("_bucket", "_sum", "_count") if kind == "histogram")}
    return names
