"""Which report follows from what is known."""

import copy
import json
import random
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bus_schemas.workers import ServerFault
from services.health.state import (
    CacheStats,
    Connected,
    Disconnected,
    Known,
    Reason,
    Status,
    WorkerFinding,
    report_health,
)
from tests.support.health_contract import CONTRACT, NINE_WORDS

NOW = 1_705_744_800.0  # 2024-01-20T10:00:00Z


def finding(fault: str | None = None, *, version: str = "1.0.0", is_serving: bool = False) -> WorkerFinding:
    return WorkerFinding(version, is_serving, None, NOW, fault)


SERVING = WorkerFinding("1.0.0", is_serving=True, latency_ms=45.4, checked_at=NOW - 1, fault=None)
TIMED_OUT = finding("Connection timeout")

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
FINDINGS = st.builds(
    WorkerFinding,
    version=st.sampled_from(["1.0.0", "2.0.0"]),
    is_serving=st.booleans(),
    latency_ms=st.none() | st.floats(0, 1e7),
    checked_at=st.none() | st.floats(1, 4e9),
    fault=st.none() | st.sampled_from([fault.value for fault in ServerFault]),
)
CACHES = st.builds(CacheStats, hit_rate=st.floats(0, 1), entries=st.integers(0, 2**53))


@st.composite
def states(draw: st.DrawFn) -> tuple[list[str], Known]:
    """Configured servers, and what may be known: also of servers that are not configured."""
    servers = draw(st.lists(NAMES, max_size=5, unique=True))
    of_all = st.sampled_from(servers) if servers else NAMES
    known = Known(
        findings=draw(st.dictionaries(of_all | NAMES, st.lists(FINDINGS, max_size=4), max_size=6)),
        is_bus_up=draw(st.booleans()),
        open_circuits=draw(st.sets(st.tuples(of_all, st.sampled_from(["1.0.0", "2.0.0"])), max_size=6)),
        in_maintenance=draw(st.sets(of_all, max_size=3)),
        cache=draw(CACHES),
    )
    return servers, known


def answered(servers: Collection[str], known: Known) -> Any:
    """Return the report as callers get it."""
    return json.loads(report_health(servers, known, now=NOW).model_dump_json())


def test_the_report_is_the_one_of_the_contract() -> None:
    known = Known(
        {"database_mcp": [SERVING], "product_metadata_mcp": [TIMED_OUT]},
        is_bus_up=True,
        cache=CacheStats(hit_rate=0.75, entries=150),
    )

    assert answered(["database_mcp", "product_metadata_mcp"], known) == {
        "status": "degraded",
        "mcp_servers": {
            "database_mcp": {"status": "connected", "latency_ms": 45, "last_check": "2024-01-20T09:59:59Z"},
            "product_metadata_mcp": {
                "status": "disconnected",
                "error": "Connection timeout",
                "last_check": "2024-01-20T10:00:00Z",
            },
        },
        "cache_stats": {"hit_rate": 0.75, "entries": 150},
    }


@given(states())
def test_whatever_is_known_the_report_has_exactly_the_fields_of_the_contract(state: tuple[list[str], Known]) -> None:
    servers, known = state
    report = answered(servers, known)

    CONTRACT.validate(report)
    assert list(report["mcp_servers"]) == servers


@given(states())
def test_one_field_more_or_less_anywhere_is_not_the_contract(state: tuple[list[str], Known]) -> None:
    """Seen to fail with a schema that lets additional fields through."""
    for changed in one_field_more_or_less(answered(*state)):
        assert not CONTRACT.is_valid(changed)


def one_field_more_or_less(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    places = [(), ("cache_stats",), *(("mcp_servers", server) for server in report["mcp_servers"])]
    for place in places:
        for field in (*at(report, place), None):
            changed = copy.deepcopy(report)
            if field is None:
                at(changed, place)["detail"] = "more"
            else:
                del at(changed, place)[field]
            yield changed


def at(report: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    for name in place:
        report = report[name]
    return report


def test_the_words_are_the_nine_of_the_contract_and_those_of_workers_are_among_them() -> None:
    assert [reason.value for reason in Reason] == list(NINE_WORDS)
    assert {fault.value for fault in ServerFault} <= set(NINE_WORDS)


@pytest.mark.parametrize(
    ("servers", "down", "status"),
    [
        (0, 0, Status.HEALTHY),
        (2, 0, Status.HEALTHY),
        (2, 1, Status.DEGRADED),
        (4, 2, Status.DEGRADED),
        (4, 3, Status.UNHEALTHY),
        (3, 2, Status.UNHEALTHY),
        (1, 1, Status.UNHEALTHY),
        (1000, 500, Status.DEGRADED),
        (1000, 501, Status.UNHEALTHY),
        (1001, 501, Status.UNHEALTHY),
    ],
)
def test_more_than_half_of_the_servers_down_is_unhealthy(servers: int, down: int, status: Status) -> None:
    names = [f"server{number}" for number in range(servers)]
    findings = {name: [TIMED_OUT if number < down else SERVING] for number, name in enumerate(names)}

    assert report_health(names, Known(findings, is_bus_up=True), now=NOW).status is status


@pytest.mark.parametrize(
    ("out", "status"),
    [
        ((), Status.UNHEALTHY),  # 2 of 3 are down
        (("down",), Status.DEGRADED),  # 1 of 2
        (("up",), Status.UNHEALTHY),  # 2 of 2
        (("down", "never"), Status.HEALTHY),  # 0 of 1
        (("up", "down", "never"), Status.HEALTHY),  # there is nobody left to count
    ],
)
def test_a_server_in_maintenance_is_listed_but_not_counted(out: Collection[str], status: Status) -> None:
    known = Known({"up": [SERVING], "down": [TIMED_OUT]}, is_bus_up=True, in_maintenance=out)

    report = report_health(["up", "down", "never"], known, now=NOW)

    assert report.status is status
    assert {name for name in report.mcp_servers if error(report.mcp_servers[name]) == "Maintenance"} == set(out)


def error(server: Connected | Disconnected) -> str | None:
    return server.error.value if isinstance(server, Disconnected) else None


def the_error(known: Known) -> str | None:
    """Return why the one server is down."""
    return error(report_health(["a"], known, now=NOW).mcp_servers["a"])


def test_without_the_bus_every_server_is_unreachable_and_the_whole_is_unhealthy() -> None:
    known = Known({"a": [SERVING]}, is_bus_up=False, in_maintenance={"b"})
    report = report_health(["a", "b"], known, now=NOW)

    assert report.status is Status.UNHEALTHY
    assert [error(server) for server in report.mcp_servers.values()] == ["Bus unreachable"] * 2
    assert report_health([], Known({}, is_bus_up=False), now=NOW).status is Status.UNHEALTHY


def test_a_server_that_was_never_seen_has_no_live_worker() -> None:
    assert the_error(Known({}, is_bus_up=True)) == "No live worker"


def test_a_worker_that_has_not_heard_of_its_server_yet_is_none() -> None:
    assert the_error(Known({"a": [finding()]}, is_bus_up=True)) == "No live worker"


def test_one_working_worker_of_any_version_is_enough() -> None:
    assert the_error(Known({"a": [TIMED_OUT, SERVING]}, is_bus_up=True)) is None


def test_a_circuit_is_open_when_it_is_open_for_every_version_that_is_served() -> None:
    serving = [finding(version="1.0.0", is_serving=True), finding(version="2.0.0", is_serving=True)]
    both, one = {("a", "1.0.0"), ("a", "2.0.0")}, {("a", "1.0.0")}

    assert the_error(Known({"a": serving}, is_bus_up=True, open_circuits=both)) == "Circuit open"
    assert the_error(Known({"a": serving}, is_bus_up=True, open_circuits=one)) is None
    assert the_error(Known({"a": serving[:1]}, is_bus_up=True, open_circuits=one)) == "Circuit open"


def test_what_a_worker_ran_into_says_more_than_an_open_circuit() -> None:
    known = Known({"a": [TIMED_OUT]}, is_bus_up=True, open_circuits={("a", "1.0.0")})

    assert the_error(known) == "Connection timeout"


def test_the_fault_of_most_workers_is_told() -> None:
    faults = ["Connection refused", "Process exited", "Process exited", None]

    assert the_error(Known({"a": [finding(fault) for fault in faults]}, is_bus_up=True)) == "Process exited"


@given(st.lists(FINDINGS, max_size=5), st.randoms())
@example([finding("Process exited"), finding("Connection refused")], random.Random(0))  # noqa: S311 turns them round
def test_two_replicas_that_know_the_same_tell_the_same_in_whichever_order_they_heard_it(
    findings: list[WorkerFinding], chance: random.Random
) -> None:
    """Seen to fail with the fault of the worker that was heard first."""
    known = Known({"a": findings}, is_bus_up=True)
    other = Known({"a": chance.sample(findings, len(findings))}, is_bus_up=True)

    assert report_health(["a"], other, now=NOW) == report_health(["a"], known, now=NOW)


@given(states())
def test_a_server_is_connected_exactly_if_a_worker_serves_it_and_nothing_else_holds_it_back(
    state: tuple[list[str], Known],
) -> None:
    servers, known = state
    for name, server in report_health(servers, known, now=NOW).mcp_servers.items():
        served = {one.version for one in known.findings.get(name, ()) if one.is_serving}
        passable = {version for version in served if (name, version) not in known.open_circuits}
        can_be_asked = known.is_bus_up and name not in known.in_maintenance and passable
        assert isinstance(server, Connected) == bool(can_be_asked)
