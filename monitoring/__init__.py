"""What watches a fleet from outside: Prometheus, its rules and their tests, Alertmanager, Grafana.

prometheus.yml    what is scraped: `busbar up` by its file, the services of compose by DNS
rules/            recordings (figures that alerts and dashboards share) and alerts (each with a runbook section)
rule_tests/       `promtool test rules`: when each alert fires, when it does not, and when it resolves
alertmanager.yml  who hears of an alert
grafana/          the dashboards, built as code, and how Grafana finds them
"""
