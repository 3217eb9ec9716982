"""Subjects and queue groups, letter for letter: other people's clients and permissions spell them out."""

from bus_schemas import subjects


def test_queries_are_asked_on_one_subject_that_the_orchestrators_share() -> None:
    assert subjects.QUERY == "mcp.v1.query"
    assert subjects.QUERY_QUEUE == "orchestrator"


def test_calls_go_to_one_version_of_a_server_and_its_workers_share_them() -> None:
    assert subjects.call("database_mcp", "1.2.0") == "mcp.v1.call.database_mcp.1_2_0"
    assert subjects.call_queue("database_mcp", "1.2.0") == "database_mcp.1_2_0"


def test_a_call_for_one_worker_has_a_subject_below_that_of_its_version() -> None:
    assert subjects.call_instance("database_mcp", "1.2.0", "q7x2") == "mcp.v1.call.database_mcp.1_2_0.q7x2"


def test_a_prerelease_and_a_build_have_subjects_of_their_own() -> None:
    assert subjects.call("a", "1.0.0-rc.1+build.5") == "mcp.v1.call.a.1_0_0-rc_1+build_5"


def test_a_cancel_reaches_every_worker_of_a_server() -> None:
    assert subjects.cancel("database_mcp") == "mcp.v1.cancel.database_mcp"


def test_orders_go_to_one_worker() -> None:
    assert subjects.control("database_mcp", "q7x2") == "mcp.v1.control.database_mcp.q7x2"


def test_events_of_all_workers_can_be_followed_with_one_subscription() -> None:
    assert subjects.worker_event("database_mcp", "q7x2") == "mcp.v1.event.worker.database_mcp.q7x2"
    assert subjects.WORKER_EVENTS == "mcp.v1.event.worker.>"


def test_events_of_all_orchestrators_can_be_followed_with_one_subscription() -> None:
    assert subjects.orchestrator_event("c4k1") == "mcp.v1.event.orchestrator.c4k1"
    assert subjects.ORCHESTRATOR_EVENTS == "mcp.v1.event.orchestrator.*"


def test_what_happens_to_the_cache_is_told_to_all_on_one_subject() -> None:
    assert subjects.CACHE_EVENTS == "mcp.v1.event.cache"


def test_events_of_all_breakers_can_be_followed_with_one_subscription() -> None:
    assert subjects.breaker_event("database_mcp") == "mcp.v1.event.breaker.database_mcp"
    assert subjects.BREAKER_EVENTS == "mcp.v1.event.breaker.*"


def test_discovery_asks_all_or_one_server_or_one_instance() -> None:
    assert subjects.service_verb("PING") == "$SRV.PING"
    assert subjects.service_verb("INFO", "database_mcp") == "$SRV.INFO.database_mcp"
    assert subjects.service_verb("STATS", "database_mcp", "q7x2") == "$SRV.STATS.database_mcp.q7x2"
