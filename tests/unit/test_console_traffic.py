"""What the console has seen of traffic, and how it is drawn."""

import pytest

from bus_schemas.latencies import latency_bucket
from bus_schemas.replicas import OrchestratorHeartbeat, VersionCounts
from services.admin.console.plots import HEIGHT, WIDTH, draw
from services.admin.console.traffic import SECONDS, Traffic, shares
from services.admin.console.traffic_view import shown_traffic

OLD, NEW = ("files", "1.0.0"), ("files", "1.1.0")


def heartbeat(instance: str, **requests: int) -> OrchestratorHeartbeat:
    """An orchestrator that has counted so many requests of the old and of the new version, each of 10 ms."""
    versions = {"old": OLD, "new": NEW}
    return OrchestratorHeartbeat(
        instance=instance,
        started_at=0,
        versions=[
            VersionCounts(
                server=versions[name][0],
                version=versions[name][1],
                requests=count,
                errors=count // 10,
                latencies={latency_bucket(0.01): count},
            )
            for name, count in requests.items()
        ],
    )


ONE, TWO = "a" * 12, "b" * 12


def test_what_came_since_the_last_look_counts_and_of_all_orchestrators_together() -> None:
    traffic = Traffic()
    traffic.take([heartbeat(ONE, old=1000), heartbeat(TWO, old=500)])
    traffic.take([heartbeat(ONE, old=1010, new=0), heartbeat(TWO, old=520, new=0)])
    traffic.take([heartbeat(ONE, old=1010, new=10), heartbeat(TWO, old=520, new=20)])
    old, new = traffic.lately(OLD), traffic.lately(NEW)
    assert (old.counts.requests, new.counts.requests) == (30, 30)
    assert old.requests_per_s == 10
    assert old.errors_per_s == pytest.approx(1)
    assert old.p95_ms == pytest.approx(10, rel=0.2)
    assert traffic.versions() == {"files": ["1.0.0", "1.1.0"]}


def test_an_orchestrator_that_begins_anew_takes_nothing_away() -> None:
    traffic = Traffic()
    traffic.take([heartbeat(ONE, old=1000)])
    traffic.take([heartbeat(ONE, old=7)])
    assert traffic.lately(OLD).counts.requests == 7


def test_the_split_is_that_of_the_last_seconds_and_zero_without_requests() -> None:
    traffic = Traffic()
    traffic.take([heartbeat(ONE, old=0, new=0)])
    assert shares({"1.0.0": traffic.lately(OLD), "1.1.0": traffic.lately(NEW)}) == {"1.0.0": 0, "1.1.0": 0}
    traffic.take([heartbeat(ONE, old=90, new=10)])
    assert shares({"1.0.0": traffic.lately(OLD), "1.1.0": traffic.lately(NEW)}) == {"1.0.0": 0.9, "1.1.0": 0.1}
    for _ in range(10):
        traffic.take([heartbeat(ONE, old=90, new=20)])
    assert traffic.lately(OLD).p95_ms is None


def test_two_minutes_are_kept_and_no_more() -> None:
    traffic = Traffic()
    for second in range(3 * SECONDS):
        traffic.take([heartbeat(ONE, old=second)])
    assert len(traffic.history(OLD, 2)) == SECONDS // 2
    (shown,) = shown_traffic(traffic)
    assert [plot.title for plot in shown.plots] == ["Requests a second", "Errors a second", "95th percentile"]


def test_a_line_breaks_where_nothing_was_counted_and_ends_at_the_right_edge() -> None:
    plot = draw("Calls", "/s", {"1": [1.0, None, 2.0, 4.0]}, points=5)
    (line,) = plot.lines
    assert plot.top == "5/s"
    ends = [piece.split()[-1].split(",") for piece in line.pieces]
    assert len(ends) == 2
    assert float(ends[1][0]) == WIDTH
    assert float(ends[1][1]) == pytest.approx(HEIGHT / 5, abs=0.1)
    assert plot.words == "Now version 1 4/s."


@pytest.mark.parametrize(("highest", "top"), [(0, "1"), (0.7, "1"), (1, "1"), (1.2, "2"), (34, "50"), (501, "1000")])
def test_the_scale_is_a_round_number_that_holds_every_value(highest: float, top: str) -> None:
    assert draw("Calls", "", {"1": [highest]}, points=2).top == top


def test_lines_can_be_told_apart_and_a_version_without_calls_says_so() -> None:
    plot = draw("Calls", "", {str(version): [] for version in range(6)}, points=2)
    assert [line.look for line in plot.lines] == [0, 1, 2, 3, 0, 1]
    assert "version 0 without calls" in plot.words
