"""The rows by their names."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from tests.bench.capacity import hits, many_servers, replicas, results, start_up, waiting
from tests.bench.capacity.figures import Figure


class Row(NamedTuple):
    """One row."""

    title: str
    measure: Callable[[], Awaitable[list[Figure]]]


ROWS: Final[Mapping[str, Row]] = {
    "hits": Row("Answers from memory", hits.measure),
    "waiting-1000": Row("1,000 callers of a tool that waits 1 s", waiting.measure_thousand),
    "waiting-5000": Row("5,000 callers of a tool that waits 1 s", waiting.measure_five_thousand),
    "replicas": Row("Two orchestrators and two workers against one of each", replicas.measure),
    "servers": Row("200 servers, 10,000 tools", many_servers.measure),
    "start-up": Row("`busbar up` with the two examples", start_up.measure),
    "results": Row("Size of the result, transport and era of the server", results.measure),
}
