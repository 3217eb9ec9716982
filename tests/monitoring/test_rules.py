"""The rules as files: promtool takes them, and none lacks a case, a runbook or a code."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bus_schemas.errors import ERRORS, OF_ADMIN
from monitoring.grafana.build import DASHBOARDS
from tests.monitoring.expressions import metric_names
from tests.monitoring.rule_files import CASE_FILES, MONITORING, alerts, courses, rules
from tests.support.processes import REPOSITORY

ALWAYS = "Watchdog"
"""Fires whatever happens, so that it has neither a quiet case nor one in which it resolves."""


def promtool(*arguments: str | Path) -> str:
    """Return what promtool prints; fail if it is not content."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_configuration_with_all_rules() -> None:
    assert f"{len(list(MONITORING.glob('rules/*.yml')))} rule files found" in promtool(
        "check", "config", MONITORING / "prometheus.yml"
    )
    promtool("check", "rules", *MONITORING.glob("rules/*.yml"))


@pytest.mark.parametrize("path", CASE_FILES, ids=lambda path: path.stem)
def test_the_alerts_fire_and_resolve_as_their_cases_say(path: Path) -> None:
    promtool("test", "rules", path)


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_every_alert_has_a_case_in_which_it_fires_one_in_which_it_does_not_and_one_in_which_it_resolves(
    alert: str,
) -> None:
    seen = [course for course in courses() if course.alert == alert]
    assert any(any(course.fires) for course in seen), "no case in which it fires"
    if alert != ALWAYS:
        assert any(course.is_quiet for course in seen), "no case in which it never fires"
        assert any(course.resolves for course in seen), "no case in which it resolves"


@pytest.mark.parametrize("alert", alerts().values(), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_what_has_happened_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket", "none"}
    assert alert["annotations"].keys() == {"summary", "runbook_url"}
    file, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert anchor == alert["alert"].lower()
    assert f"\n### {alert['alert']}\n" in (REPOSITORY / file).read_text()


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_every_runbook_says_what_it_means_what_to_look_at_and_what_to_do(alert: str) -> None:
    _, _, rest = (REPOSITORY / "docs/operations.md").read_text().partition(f"\n### {alert}\n")
    section = rest.partition("\n### ")[0]
    assert [f"**{part}.**" in section for part in ("Means", "Look at", "Do")] == [True] * 3


def test_no_runbook_is_of_an_alert_that_is_gone() -> None:
    sections = re.findall(r"^### (\w+)$", (REPOSITORY / "docs/operations.md").read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(alerts())


def test_what_the_rules_take_for_a_5xx_is_what_the_error_table_says() -> None:
    of_queries = {code: meaning for code, meaning in ERRORS.items() if code not in OF_ADMIN}
    wanted = "|".join(sorted(code.value for code, meaning in of_queries.items() if meaning.status >= 500))
    used = {found for rule in rules() for found in re.findall(r'error_type=~"([^"]*)"', rule["expr"])}
    assert used == {wanted}


def test_the_figures_over_days_are_made_of_few_series() -> None:
    """A rate over three days of every counter of a large fleet would be more samples than Prometheus reads at once."""
    for rule in rules():
        for metric, window in re.findall(r"([\w:]+)(?:\{[^}]*\})?\[(\w+)\]", rule["expr"]):
            assert ":" in metric or not re.search("[hdw]", window) or metric.startswith("prometheus_"), rule


def test_every_figure_that_is_recorded_is_used() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    expressions = [rule["expr"] for rule in rules()]
    expressions += [query.expr for dashboard in DASHBOARDS for panel in dashboard.panels for query in panel.queries]
    assert recorded <= {name for expression in expressions for name in metric_names(expression)}


def test_labels_of_alerts_texts_are_those_that_they_have() -> None:
    """A label that an alert does not have would be an empty place in its summary."""
    for name, alert in alerts().items():
        for label in re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]):
            grouped = re.findall(r"by \(([^)]*)\)", alert["expr"])
            assert not grouped or any(label in labels.split(", ") for labels in grouped), (name, label)
