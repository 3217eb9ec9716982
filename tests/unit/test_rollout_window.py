"""What orchestrators have counted in a window, whoever of them comes, goes, or begins anew meanwhile."""

from bus_schemas.replicas import OrchestratorHeartbeat, VersionCounts
from services.admin.rollouts.gate import Counts
from services.admin.rollouts.window import Window


def heartbeat(
    instance: str, requests: int, errors: int = 0, *, in_flight: int = 0, version: str = "1.0.0", server: str = "a"
) -> OrchestratorHeartbeat:
    """One that has counted so much of a version, all in the same bucket."""
    counts = VersionCounts(
        server=server,
        version=version,
        requests=requests,
        errors=errors,
        latencies={8: requests} if requests else {},
        in_flight={40: in_flight} if in_flight else {},
    )
    return OrchestratorHeartbeat(instance=instance, started_at=0.0, versions=[counts])


def test_only_what_came_after_its_beginning_counts_and_all_orchestrators_together() -> None:
    window = Window("a", [heartbeat("one", 100, 5), heartbeat("two", 10)])
    assert window.of("1.0.0") == Counts()
    window.add([heartbeat("one", 103, 6), heartbeat("two", 14, 1, in_flight=2)])
    assert window.of("1.0.0") == Counts(7, 2, {8: 7}, {40: 2})
    assert window.of("2.0.0") == Counts()


def test_an_orchestrator_that_comes_counts_whole_and_one_that_goes_stays_but_for_its_open_calls() -> None:
    window = Window("a", [heartbeat("one", 100)])
    window.add([heartbeat("one", 105, in_flight=3)])
    window.add([heartbeat("two", 7)])
    assert window.of("1.0.0") == Counts(12, 0, {8: 12})


def test_counters_that_begin_anew_count_from_nothing() -> None:
    window = Window("a", [heartbeat("one", 100, 50)])
    window.add([heartbeat("one", 4, 1)])
    assert window.of("1.0.0") == Counts(4, 1, {8: 4})


def test_counters_that_begin_anew_and_overtake_themselves_take_nothing_from_the_others() -> None:
    window = Window("a", [heartbeat("one", 100, 50), heartbeat("two", 10)])
    anew = heartbeat("one", 120, 2)
    fast = anew.versions[0].model_copy(update={"latencies": {4: 120}})
    window.add([anew.model_copy(update={"versions": [fast]}), heartbeat("two", 13, 1)])
    assert window.of("1.0.0") == Counts(23, 1, {4: 120, 8: 3})


def test_other_servers_do_not_count() -> None:
    window = Window("a", [])
    window.add([heartbeat("one", 100, server="b")])
    assert window.of("1.0.0") == Counts()


def test_all_that_was_ever_counted_is_known_as_well() -> None:
    window = Window("a", [heartbeat("one", 100, 5)])
    window.add([heartbeat("one", 110, 5)])
    assert window.of("1.0.0") == Counts(10, 0, {8: 10})
    assert window.ever("1.0.0") == Counts(110, 5, {8: 110})
