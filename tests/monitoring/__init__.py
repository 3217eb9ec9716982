"""What watches the fleet: the rules and dashboards as files, and a real Prometheus that follows a fleet with faults.

test_first_scrape what goes wrong makes no new series
test_targets      the file that `busbar up` writes for Prometheus
name_server       a name server of a test
test_discovery    every address behind a service's name is a target
test_rules        promtool; every alert has its cases and its runbook; the 5xx of the rules are those of the error table
test_alertmanager every severity goes to somebody
test_dashboards   the JSON is current, panels do not overlap
expressions       the names of metrics in PromQL
prometheus        a Prometheus of a test, and its HTTP API
watched           a `busbar up` under load and faults, as Prometheus saw it
test_watched      every panel had data, every name exists, the alert fired and resolved
draw              the panels of such a run as pictures, for docs/img
"""
