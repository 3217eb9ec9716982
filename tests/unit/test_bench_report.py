"""The table of the bench beside other gateways: the medians, whose time it was, and who was left out."""

from tests.bench.peers.measuring import Level
from tests.bench.peers.report import Report, as_markdown
from tests.bench.wrk import Run

DIRECT = Run(sent=10_000, per_s=2000, p50_ms=1, p99_ms=2, errors=0, cpu_us={"server": 400}, rss_mb={"server": 70})


def through(per_s: float, *, errors: int = 0) -> Run:
    cpu_us = {"orchestrator": 300.0, "worker": 200.0, "server": 450.0}
    rss_mb = {"orchestrator": 90.0, "worker": 60.0, "server": 70.0}
    return Run(sent=5000, per_s=per_s, p50_ms=1.5, p99_ms=3, errors=errors, cpu_us=cpu_us, rss_mb=rss_mb)


def table(level: Level) -> list[str]:
    absent = {"mcpo": "NotInstalledError: no such package"}
    ways = ["directly", "Busbar"]
    report = Report("2026-12-01", "2 cores", 3, 5, {"mcp-hub": "4.2.1"}, absent, ways, [level])
    return as_markdown(report).splitlines()


def test_a_row_has_the_medians_and_the_servers_time_apart() -> None:
    runs = [through(900), through(1500, errors=1), through(1000, errors=2)]
    lines = table(Level(32, 0.3, {"directly": [DIRECT] * 3, "Busbar": runs}))
    assert "| directly | 2,000 (2,000–2,000) | 1.0 ms | 2.0 ms | 0 |  | 400 µs |  |" in lines
    assert (
        "| Busbar | 1,000 (900–1,500) | 1.5 ms | 3.0 ms | 3 | 500 µs (300 + 200) | 450 µs | 150 MB (90 + 60) |" in lines
    )


def test_a_way_that_was_not_asked_has_an_empty_row() -> None:
    assert "| Busbar | – | – | – | – | – | – | – |" in table(Level(1000, 0.3, {"directly": [DIRECT]}))


def test_a_peer_that_was_not_measured_is_named_with_the_reason() -> None:
    assert "* mcpo: NotInstalledError: no such package" in table(Level(1, 0.3, {"directly": [DIRECT]}))
