"""Four dashboards, built as code; the JSON that Grafana reads is committed.

states         what the values of state metrics mean
panels         what a dashboard is made of, and how Grafana writes it
overview       how all queries do: rate, errors, duration
one_server     how one server does
fleet          who is there: servers, workers, versions, processes
cache_and_bus  what everybody shares
build          writes dashboards/*.json, or tells that they are not current
"""
