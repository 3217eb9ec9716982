"""What a dashboard is made of, and how Grafana writes it down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

DATASOURCE: Final = {"type": "prometheus", "uid": "busbar-prometheus"}
"""As provisioned in provisioning/datasources."""

_COLUMNS: Final = 24
_SCHEMA_VERSION: Final = 39
_STAT_LINES: Final = 4
_GRAPH_LINES: Final = 8

Kind = Literal["timeseries", "stat", "state-timeline"]


@dataclass(frozen=True, slots=True)
class Query:
    """One line, or a bundle of them, on a panel."""

    expr: str
    legend: str = ""
    has_exemplars: bool = False
    """Whether its points lead to traces."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    """One of Grafana's: `s`, `reqps`, `percentunit`, `bytes`, `short`."""
    kind: Kind = "timeseries"
    width: int = 12
    """In Grafana's 24 columns."""
    explanation: str = ""
    red_above: float | None = None
    """Where it begins to be bad; on a stat its colour changes, on a graph a line is drawn."""
    red_below: float | None = None
    states: Mapping[int, tuple[str, str]] | None = None
    """Of a state timeline: what each value means, and its colour."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below one headline."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the head of a dashboard, among the values of a label."""

    name: str
    label: str
    metric: str
    """That has the label `name`."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page. Its uid is part of links, so it never changes."""

    uid: str
    title: str
    explanation: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)


def written(dashboard: Dashboard) -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.explanation,
        "tags": ["busbar"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            {"type": "dashboards", "tags": ["busbar"], "title": "Busbar", "asDropdown": True, "keepTime": True},
        ],
        "templating": {"list": [_variable(variable) for variable in dashboard.variables]},
        "annotations": {"list": [_alerts_as_annotations()]},
        "panels": _placed(dashboard.rows),
    }


def _placed(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Lay the panels out from left to right, each row below the one before."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
            }
        )
        y += 1
        x = lines = 0
        for panel in row.panels:
            height = _STAT_LINES if panel.kind == "stat" else _GRAPH_LINES
            if x + panel.width > _COLUMNS:
                x, y, lines = 0, y + lines, 0
            place = {"x": x, "y": y, "w": panel.width, "h": height}
            panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(panel)})
            x, lines = x + panel.width, max(lines, height)
        y += lines
    return panels


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": _thresholds(panel), "mappings": _mappings(panel)}
    if panel.kind == "timeseries":
        has_limit = panel.red_above is not None or panel.red_below is not None
        defaults["min"] = 0
        defaults["custom"] = {
            "fillOpacity": 10,
            "lineWidth": 1,
            "showPoints": "never",
            "thresholdsStyle": {"mode": "dashed" if has_limit else "off"},
        }
    if panel.kind == "stat":
        defaults["color"] = {"mode": "thresholds"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.explanation,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "range": panel.kind != "stat",
                "instant": panel.kind == "stat",
                "exemplar": query.has_exemplars,
            }
            for number, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
    }


def _options(kind: Kind) -> dict[str, Any]:
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    if kind == "state-timeline":
        return {"legend": legend, "mergeValues": True, "showValue": "never", "rowHeight": 0.8}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def _thresholds(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel.red_below}]
    if panel.red_above is not None:
        steps.append({"color": "red", "value": panel.red_above})
    return {"mode": "absolute", "steps": steps}


def _mappings(panel: Panel) -> list[dict[str, Any]]:
    if panel.states is None:
        return []
    options = {str(value): {"text": text, "color": color} for value, (text, color) in panel.states.items()}
    return [{"type": "value", "options": options}]


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric}, {variable.name})"
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": variable.name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
    }


def _alerts_as_annotations() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing", severity!="none"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{server}} {{instance}}",
    }
