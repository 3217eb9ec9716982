"""What a row of the chaos suite makes of its records."""

from tests.chaos.findings import Findings, Query
from tests.chaos.load import Stream
from tests.support.account import account
from tests.support.records import Sent, Told


def test_what_met_a_pause_of_the_machine_does_not_speak_of_us() -> None:
    queries = tuple(
        Query(Stream("a", "record", "http"), Sent(str(at), at), Told(str(at), at + ms / 1000, 200, None, None, ms))
        for at, ms in ((1.0, 10.0), (2.0, 20.0), (3.0, 500.0))
    )
    none = account([], [], 1.0)

    def p99_ms(*pauses: tuple[float, float]) -> float:
        found = Findings(none, none, none, queries, (), 1.0, 0.0, 9.0, 1.0, pauses=pauses)
        return found.p99_ms("a", 0.0, 9.0)

    assert p99_ms() == p99_ms((2.5, 2.9)) == 500.0
    assert p99_ms((3.1, 3.4)) == 20.0
