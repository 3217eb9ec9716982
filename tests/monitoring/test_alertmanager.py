"""Every severity goes to somebody, and no address stands in the configuration."""

from typing import Any

import yaml

from tests.monitoring.rule_files import MONITORING, alerts

CONFIG: dict[str, Any] = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())


def test_every_route_leads_to_a_receiver() -> None:
    receivers = {receiver["name"] for receiver in CONFIG["receivers"]}
    route = CONFIG["route"]
    assert {route["receiver"], *(one["receiver"] for one in route["routes"])} == receivers


def test_pages_and_the_watchdog_have_routes_of_their_own() -> None:
    routed = {matcher: route["receiver"] for route in CONFIG["route"]["routes"] for matcher in route["matchers"]}
    assert routed == {'severity="page"': "page", 'severity="none"': "watchdog"}
    assert {alert["labels"]["severity"] for alert in alerts().values()} == {"page", "ticket", "none"}
    assert CONFIG["route"]["receiver"] == "ticket"


def test_addresses_of_receivers_come_from_files() -> None:
    for receiver in CONFIG["receivers"]:
        for webhook in receiver["webhook_configs"]:
            assert webhook["url_file"].startswith("/etc/alertmanager/webhooks/")
            assert "url" not in webhook


def test_what_is_silenced_by_another_alert_exists() -> None:
    known = set(alerts())
    for rule in CONFIG["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, _, value = matcher.replace("=~", "=").partition("=")
            if label == "alertname":
                assert set(value.strip('"').split("|")) <= known
