"""The dashboards as files: current, complete, and laid out without overlaps."""

import json
from itertools import combinations
from typing import Any

import pytest
import yaml

from monitoring.grafana import build
from monitoring.grafana.build import DASHBOARDS, path_of, text_of
from monitoring.grafana.panels import Dashboard
from tests.monitoring.rule_files import MONITORING

every_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)


@every_dashboard
def test_the_json_is_what_the_code_makes(dashboard: Dashboard) -> None:
    assert path_of(dashboard).read_text() == text_of(dashboard), "run python -m monitoring.grafana.build"


def test_no_dashboard_is_left_from_before() -> None:
    assert set(build.FOLDER.iterdir()) == {path_of(dashboard) for dashboard in DASHBOARDS}


def test_a_check_tells_a_file_that_is_not_current_and_leaves_it(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    assert build.main(["--check"]) == 1
    assert "is not current" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0


@every_dashboard
def test_no_two_panels_overlap_or_share_an_id(dashboard: Dashboard) -> None:
    panels = json.loads(text_of(dashboard))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        ), (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@every_dashboard
def test_every_query_goes_to_the_datasource_that_is_provisioned(dashboard: Dashboard) -> None:
    (source,) = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    for panel in json.loads(text_of(dashboard))["panels"]:
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": source["type"], "uid": source["uid"]}


def test_uids_and_titles_of_panels_are_unique() -> None:
    assert len({dashboard.uid for dashboard in DASHBOARDS}) == len(DASHBOARDS)
    for dashboard in DASHBOARDS:
        titles = [panel.title for panel in dashboard.panels]
        assert len(set(titles)) == len(titles), dashboard.uid


def test_latency_panels_lead_to_traces() -> None:
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for query in panel.queries:
                assert query.has_exemplars == ("mcp_query_duration_seconds_bucket" in query.expr), panel.title
